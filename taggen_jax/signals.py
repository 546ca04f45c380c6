"""SIGTERM, as a cluster sends it before it takes a machine away: leave, and say that there is more to do."""

import signal
import types

TERMINATED = 128 + signal.SIGTERM  # 143, what a shell reports of a process that the signal ended


class Stop:
    """While the block runs, SIGTERM only leaves a note; `check` is where the work may be abandoned.

    with Stop() as stop:
        for batch in batches:
            stop.check()

    A second SIGTERM kills at once, as ever.

    Attributes:
      asked: whether the signal has come.
    """

    asked = False

    def __enter__(self) -> "Stop":
        self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def check(self) -> None:
        """Raises SystemExit with status 143 if the signal has come."""
        if self.asked:
            raise SystemExit(TERMINATED)

    def _note(self, number: int, frame: types.FrameType | None) -> None:
        self.asked = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
