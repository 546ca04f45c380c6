"""Batches that process 0 reads and all processes of a run work on: one model cut over their devices.

process 0   reads 7 products, 4, ..     and what the search finds, it writes
            | batch   | batch   | end of the part
the others  run it    run it    wait    and drop what they find: only their devices are needed
"""

import enum
import types
from collections.abc import Callable, Iterable, Iterator, Mapping

import jax
import numpy as np
from jax.experimental import multihost_utils

from taggen_jax.errors import UserError
from taggen_jax.parallel import hosts
from taggen_jax.signals import TERMINATED, Stop

Batch = Mapping[str, np.ndarray]


class Word(enum.IntEnum):
    """What process 0 says next."""

    PART = 0  # of the work: the results of its last batch are fetched before the next part begins
    BATCH = 1
    END = 2  # of the part
    DONE = 3
    STOPPED = 4
    FAILED = 5


class Lead:
    """Keeps the processes of a run at the same batch; one that is alone shares with nobody.

    with Stop() as stop, Lead(stop) as lead:
        if hosts.first():
            for part in parts:
                results = search(lead.share(part))
        else:
            for batches in lead.follow(blank):
                search(batches)

    All leave before the same batch when any of them was sent SIGTERM, and when process 0 fails.
    """

    def __init__(self, stop: Stop) -> None:
        self._stop, self._alone, self._left = stop, jax.process_count() == 1, False

    def __enter__(self) -> "Lead":
        """Nothing is said yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        """In process 0: tells the others how it went, unless they know."""
        if self._alone or self._left or not hosts.first():
            return
        stopped = isinstance(error, SystemExit)
        self._say(Word.DONE if error is None else Word.STOPPED if stopped else Word.FAILED)

    def share(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """In process 0: a part's batches, each on its way to the other processes, too.

        Args:
          batches: numpy arrays [B, ..]; "source" [B, S] says by its S what shape the others have.

        Raises:
          SystemExit: 143, when any process was sent SIGTERM.
        """
        if self._alone:
            yield from batches
            return
        self._say(Word.PART)
        for batch in batches:
            self._say(Word.BATCH, batch["source"].shape[1])
            multihost_utils.broadcast_one_to_all(dict(batch))
            yield batch
        self._say(Word.END)

    def follow(self, blank: Callable[[int], Batch]) -> Iterator[Iterator[Batch]]:
        """In the other processes: the batches of one part after another; use each part up.

        Args:
          blank: S -> any batch of that length, for its shapes and types.

        Raises:
          SystemExit: 143, as in `share`.
          UserError: process 0 failed.
        """
        while self._say(Word.PART)[0] == Word.PART:
            yield self._part(blank)

    def _part(self, blank: Callable[[int], Batch]) -> Iterator[Batch]:
        while True:
            word, length = self._say(Word.BATCH)
            if word == Word.END:
                return
            batch = multihost_utils.broadcast_one_to_all(dict(blank(length)))
            yield jax.tree.map(np.asarray, batch)

    def _say(self, word: Word, length: int = 0) -> tuple[Word, int]:
        """What process 0 says (of the others only the number counts that tells of SIGTERM)."""
        said_P3 = multihost_utils.process_allgather(np.array([self._stop.asked, word, length], np.int32))
        word, length = Word(said_P3[0, 1]), int(said_P3[0, 2])
        # Not at an end: what has been worked on to its end is kept.
        asked = said_P3[:, 0].any() and word in (Word.PART, Word.BATCH)
        self._left = asked or word in (Word.STOPPED, Word.FAILED)
        if asked or (word == Word.STOPPED and not hosts.first()):
            raise SystemExit(TERMINATED)
        if word == Word.FAILED and not hosts.first():
            raise UserError("process 0 has failed, see what it says; mend that and start all processes again")
        return word, length
