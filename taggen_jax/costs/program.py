"""One compiled program: what it keeps in memory, what it does, and how fast that can be at best."""

import contextlib
import math
import re
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from taggen_jax.costs.chips import Chip
from taggen_jax.costs.count import Counts, count
from taggen_jax.errors import UserError


class Memory(NamedTuple):
    """Bytes of one device while a program runs, from the compiler's `memory_analysis`.

    Their sum is what has to fit: the compiler's own peak may be lower, never higher.
    """

    arguments: float
    results: float  # without those that take the place of donated arguments
    temporaries: float
    code: float


class Compiled(NamedTuple):
    """A program compiled ahead of time."""

    memory: Memory
    counts: Counts
    seconds: float  # that compiling took


class Roofline(NamedTuple):
    """The least time that a program can take, in seconds, and which of its works takes it."""

    seconds: float
    bound: str


def compile_program(program: Any, args: tuple[Any, ...], mesh: Mesh) -> Compiled:
    """Compiles a `jax.jit`-ted function for shapes with shardings on a described mesh.

    Raises:
      DoesNotFit: the compiler found no way to run it in the device's memory.
    """
    begin = time.monotonic()
    try:
        with jax.set_mesh(mesh), _unsaved():
            compiled = program.lower(*args).compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise DoesNotFit(_needs(str(error))) from error
    taken, found = time.monotonic() - begin, compiled.memory_analysis()
    memory = Memory(
        found.argument_size_in_bytes,
        found.output_size_in_bytes - found.alias_size_in_bytes,
        found.temp_size_in_bytes,
        found.generated_code_size_in_bytes,
    )
    return Compiled(memory, count(compiled.as_text()), taken)


@contextlib.contextmanager
def _unsaved() -> Iterator[None]:
    """Keeps programs out of JAX's cache, which cannot read back what is compiled for absent devices."""
    name = "jax_persistent_cache_min_compile_time_secs"
    before = getattr(jax.config, name)
    jax.config.update(name, math.inf)
    try:
        yield
    finally:
        jax.config.update(name, before)


class DoesNotFit(UserError):
    """A program that is too large for the device that it is compiled for."""


def _needs(message: str) -> str:
    found = re.search(r"Used (\S+) of (\S+) hbm", message)
    return f"needs {found[1]} of {found[2]}" if found else message.splitlines()[0][:200]


def roofline(counts: Counts, chip: Chip) -> Roofline:
    """A bound, not a prediction: as if products, memory and links all ran at full speed, at the same time."""
    times = {
        "products": counts.flops / chip.flops,
        "memory": counts.moved / chip.bandwidth,
        "links": sum(counts.sent.values()) / chip.links,
    }
    bound = max(times, key=lambda name: times[name])
    return Roofline(times[bound], bound)
