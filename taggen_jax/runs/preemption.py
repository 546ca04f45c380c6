"""A machine that is taken away says so first: SIGTERM means save at the next step, and go."""

import signal
import types
from types import TracebackType
from typing import Self


class Preemption:
    """Listens for SIGTERM while the block runs. A second one kills at once, as ever.

    Attributes:
      asked: whether the notice came.
    """

    asked = False

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGTERM, self._notice)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _notice(self, number: int, frame: types.FrameType | None) -> None:
        self.asked = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
