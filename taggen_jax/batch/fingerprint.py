"""What a job's output depends on, as one small JSON value that can be compared, and its differences named."""

import hashlib
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

SHOWN = 4  # differences in one message


def digest(path: pathlib.Path) -> str:
    """SHA-256 of a file, or of all files below a folder with their names."""
    if path.is_file():
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    whole = hashlib.sha256()
    for file_path in sorted(item for item in path.rglob("*") if item.is_file()):
        whole.update(f"{file_path.relative_to(path).as_posix()}\0{digest(file_path)}\n".encode())
    return whole.hexdigest()


def digests(paths: Iterable[str | os.PathLike[str]]) -> dict[str, str]:
    """The SHA-256 of each file by its path as given."""
    return {str(path): digest(pathlib.Path(path)) for path in paths}


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """One line per value in which two fingerprints differ: "settings.generate.batch_size: 16 -> 32"."""
    old, new = _flat(before), _flat(after)
    names = [name for name in old | new if old.get(name) != new.get(name)]
    return [f"{name}: {_short(old.get(name))} -> {_short(new.get(name))}" for name in names]


def listed(changes: list[str]) -> str:
    """The first differences, and how many more there are."""
    more = f"; and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
    return "; ".join(changes[:SHOWN]) + more


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text[:12] if len(text) == 64 else text  # a SHA-256 is told apart by its beginning
