"""Where bad rows go: none is lost, each has its place and its reason."""

import collections
import contextlib
import json
import os
from types import TracebackType
from typing import IO

from taggen_jax.files import atomic_write


class Quarantine:
    """Writes bad rows to a JSONL file, which appears when the block ends without an error.

        with Quarantine("quarantine.jsonl") as quarantine:
            products = list(read(paths, config, quarantine=quarantine))

    A line holds "file", "line" (from 1), "reason" ("slug: detail") and "raw", the row as it stood; bytes that
    are not UTF-8 are written as backslash escapes (\\xff).

    Attributes:
      counts: the number of bad rows by slug.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.counts: collections.Counter[str] = collections.Counter()
        self._path = path
        self._stack = contextlib.ExitStack()
        self._file: IO[str] | None = None

    def __enter__(self) -> "Quarantine":
        """Opens the file under a temporary name."""
        self._file = self._stack.enter_context(atomic_write(self._path))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Puts the file in its place, or removes it after an error."""
        self._stack.__exit__(kind, error, trace)

    def add(self, file: str | os.PathLike[str], line: int, reason: str, raw: bytes) -> None:
        """Keeps one bad row. `reason` begins with its slug and a colon."""
        if self._file is None:
            raise ValueError("a Quarantine takes rows only inside its `with` block")
        text = raw.decode(errors="backslashreplace")
        row = {"file": str(file), "line": line, "reason": reason, "raw": text}
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self.counts[reason.partition(":")[0]] += 1
