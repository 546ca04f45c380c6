"""Processes that a tool starts in order to kill them, forked with everything imported: they begin at once."""

import multiprocessing
import os
import pathlib
from collections.abc import Callable
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any


def server(folder: pathlib.Path, modules: list[str]) -> ForkServerContext:
    """A server of processes that have `modules` imported and share their compiled programs in `folder`."""
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder / "compiled"))
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    fork = multiprocessing.get_context("forkserver")
    fork.set_forkserver_preload(modules)
    return fork


def start(fork: ForkServerContext, function: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    process = fork.Process(target=function, args=arguments)
    process.start()
    return process


def finished(*processes: ForkServerProcess) -> None:
    """Returns when all have ended; raises AssertionError where one of them failed."""
    for process in processes:
        process.join()
        assert process.exitcode == 0, f"a process that nobody killed ended with {process.exitcode}"
