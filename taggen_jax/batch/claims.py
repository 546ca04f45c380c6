"""Who works on what: locks that die with their process."""

import fcntl
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import IO

PAUSE = 0.2  # seconds between two looks at what others hold


class Claims:
    """Numbered claims among the processes of one machine, or of machines that share a POSIX file system.

    A claim is a lock on one byte of a file: byte n for claim n. The kernel frees it when the process that
    holds it ends, however it ends, so no claim is ever stale. Within a process claims do not exclude.
    """

    def __init__(self, path: pathlib.Path) -> None:
        """Opens the file; it stays empty, a lock may lie behind its end."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = open(path, "ab")  # noqa: SIM115  closing it would give up every claim

    def close(self) -> None:
        """Gives up every claim."""
        self._file.close()

    def take(self, number: int) -> bool:
        """Claims, and returns whether it worked: nobody else holds it."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except (BlockingIOError, PermissionError):  # POSIX allows either
            return False
        return True

    def release(self, number: int) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, number)

    def once(self, number: int, done: Callable[[], bool], do: Callable[[], None]) -> None:
        """Has one process `do` a thing, and returns in every process when it is `done`."""
        for _ in self.each(lambda: [] if done() else [number], lambda: None):
            do()

    def each(self, missing: Callable[[], list[int]], pause: Callable[[], None]) -> Iterator[int]:
        """Yields what is missing, claimed, until nothing is missing.

        Somebody else's share is waited for, and taken over if that process dies before it is done.

        Args:
          missing: the claims whose work is not done, looked up anew before each one.
          pause: called between two looks at what others hold.
        """
        while numbers := missing():
            mine = next((number for number in numbers if self.take(number)), None)
            if mine is None:
                pause()
                time.sleep(PAUSE)
                continue
            try:
                if mine in missing():  # it may have been done between the look and the claim
                    yield mine
            finally:
                self.release(mine)
