"""The outputs of an encoder that does not train, kept on disk: computed once, looked up by row.

encoded/memory.bin   [N, S, D], the rows of the training split in order
        memory.json  what they were computed from, and their SHA-256; written last

Nothing depends on the folder's presence: what is missing, half-written, damaged or of other data or parameters is
computed anew.
"""

import hashlib
import math
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from taggen_jax.errors import UserError
from taggen_jax.files import no_space_named, read_json, write_json

Identity = Mapping[str, Any]
_SHARE = 0.9  # of the free space on the disk: checkpoints need some, too


def identity(shape_NSD: tuple[int, ...], dtype: Any, *, parameters: str, rows: str) -> Identity:
    """What outputs are known by: their shape and type, digests of the encoder's parameters and of the data."""
    return {
        "shape": list(shape_NSD),
        "dtype": jnp.dtype(dtype).name,
        "parameters_sha256": parameters,
        "rows_sha256": rows,
    }


def stored(folder: pathlib.Path, wanted: Identity, compute: Callable[[], Iterator[np.ndarray]]) -> np.ndarray:
    """memory_NSD, mapped from disk, where it is written first unless it lies there whole.

    Args:
      compute: yields [B, S, D] of the rows in order; what goes beyond the last row is left out.

    Raises:
      UserError: the disk has no room for it.
    """
    data, marker = folder / "memory.bin", folder / "memory.json"
    if not _whole(data, marker, wanted):
        folder.mkdir(parents=True, exist_ok=True)
        marker.unlink(missing_ok=True)
        data.unlink(missing_ok=True)
        check_room(folder, wanted)
        write_json(marker, {**wanted, "sha256": _write(data, compute(), wanted["shape"][0])})
    return np.memmap(data, jnp.dtype(wanted["dtype"]), "r", shape=tuple(wanted["shape"]))


def check_room(folder: pathlib.Path, wanted: Identity) -> None:
    """Raises a UserError where the disk has no room for these outputs."""
    size = math.prod(wanted["shape"]) * jnp.dtype(wanted["dtype"]).itemsize
    free = shutil.disk_usage(folder).free
    if size > _SHARE * free:
        shape = " x ".join(map(str, wanted["shape"]))
        raise UserError(
            f"{folder}: the encoder's outputs ({shape} {wanted['dtype']}) take {size / 2**30:,.1f} GiB, and "
            f"{free / 2**30:,.1f} are free; make room, or set train.cache_encoder to False"
        )


def _whole(data: pathlib.Path, marker: pathlib.Path, wanted: Identity) -> bool:
    if not (data.exists() and marker.exists()):
        return False
    try:
        found = read_json(marker, "the mark of the encoder's outputs")
    except UserError:
        return False
    if not isinstance(found, dict) or {**wanted, "sha256": found.get("sha256")} != found:
        return False  # of something else
    with open(data, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == found["sha256"]


def _write(path: pathlib.Path, outputs: Iterator[np.ndarray], rows: int) -> str:
    """Writes the first `rows` rows; their SHA-256."""
    digest = hashlib.sha256()
    with no_space_named(path), open(path, "wb") as file:
        for memory_BSD in outputs:
            kept = np.ascontiguousarray(memory_BSD[:rows]).tobytes()
            rows -= len(memory_BSD[:rows])
            digest.update(kept)
            file.write(kept)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()
