"""Compiled programs outlive a process: JAX keeps them in a folder of the user's cache."""

import hashlib
import os
import pathlib
import platform
from collections.abc import MutableMapping

VARIABLE = "JAX_COMPILATION_CACHE_DIR"
_CPU = pathlib.Path("/proc/cpuinfo")


def keep(environ: MutableMapping[str, str]) -> None:
    """Names a folder for them, where the user has not; call it before JAX is imported, which reads it then.

    It is XDG's: `$XDG_CACHE_HOME/taggen-jax/KIND`, in the home directory by default. Programs for a CPU use
    its own instructions, and a home may be shared by machines that are not alike: KIND tells them apart. An
    empty value of the variable keeps nothing.
    """
    if VARIABLE in environ:
        return
    base = environ.get("XDG_CACHE_HOME") or os.path.join(environ.get("HOME", ""), ".cache")
    if os.path.isabs(base):
        environ[VARIABLE] = os.path.join(base, "taggen-jax", _kind())


def _kind() -> str:
    """A word for machines that run each other's programs: architecture, and a digest of what it can do."""
    lines = _CPU.read_text().splitlines() if _CPU.exists() else []
    able = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    return f"{platform.machine()}-{hashlib.blake2b(able.encode(), digest_size=6).hexdigest()}"
