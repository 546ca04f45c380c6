"""The lines of a plan: what, and how much, for one device."""

from collections.abc import Mapping, Sequence

from taggen_jax.costs.chips import GIB, Chip
from taggen_jax.costs.program import Compiled, roofline

Line = tuple[str, str]


def memory_lines(compiled: Compiled, known: Mapping[str, float], chip: Chip) -> list[Line]:
    """Bytes by kind, their sum, and whether that fits.

    Args:
      compiled: the program.
      known: what its arguments are; the rest of them is padding.
      chip: that it is to run on.
    """
    memory = compiled.memory
    parts = {
        **known,
        "padding": memory.arguments - sum(known.values()),
        "activations and temporaries": memory.temporaries,
        "results": memory.results,
        "code": memory.code,
    }
    total = sum(parts.values())
    verdict = "yes" if total <= chip.memory else "no"
    lines = [(name, gib(size)) for name, size in parts.items()]
    return [*lines, ("in all", gib(total)), ("fits", f"{verdict}, of {gib(chip.memory)}")]


def work_lines(compiled: Compiled) -> list[Line]:
    """What one run of it does."""
    counts = compiled.counts
    sent = [
        (f"sent by {kind}", f"{gib(size)} in {counts.calls[kind]:,}")
        for kind, size in sorted(counts.sent.items(), key=lambda item: -item[1])
    ]
    lines = [
        ("compiled in", f"{compiled.seconds:.0f} s"),
        ("compiled FLOPs", f"{counts.flops / 1e12:,.2f} T"),
        ("bytes moved in memory, about", gib(counts.moved)),
        *sent,
    ]
    if counts.unknown:
        lines.append(("loops counted once", ", ".join(counts.unknown)))
    return lines


def rate_lines(compiled: Compiled, chip: Chip, rows: int, useful: float = 0.0) -> list[Line]:
    """The roofline, and the share of the chip's FLOP/s that `useful` ones of a device would then take."""
    least = roofline(compiled.counts, chip)
    lines = [
        ("least time (a bound)", f"{least.seconds:.3f} s, of {least.bound}"),
        ("rows/s at most", f"{rows / least.seconds:,.1f}"),
    ]
    if useful:
        lines += [
            ("model FLOPs", f"{useful / 1e12:,.2f} T"),
            ("MFU at most", f"{useful / least.seconds / chip.flops:.0%}"),
        ]
    return lines


def gib(size: float) -> str:
    """Such as "1.95 GiB"."""
    return f"{size / GIB:,.2f} GiB"


def show(title: str, lines: Sequence[Line]) -> None:
    """Prints a table of two columns."""
    print(f"\n{title}, on each device")
    width = max(len(what) for what, _ in lines)
    for what, much in lines:
        print(f"  {what:<{width}}  {much:>16}" if len(much) <= 16 else f"  {what:<{width}}  {much}")
