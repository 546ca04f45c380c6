"""Compiled HLO text as data: computations, and in each its instructions in order.

Only what counting needs is read: names, operation, shapes, operands, and the attributes as text. The text is
what `jax.stages.Compiled.as_text` gives; its grammar is that of XLA's `HloParser`.
"""

import dataclasses
import math
import re
from typing import NamedTuple


class Shape(NamedTuple):
    """Of one array. `space` is where it lies: 0 is the device's main memory, others are on the chip."""

    dtype: str
    dims: tuple[int, ...]
    space: int

    @property
    def bytes(self) -> float:
        """Without padding."""
        width = re.search(r"\d+", self.dtype)
        bits = 8 if self.dtype == "pred" else int(width[0]) if width else 0  # a token has none
        return math.prod(self.dims) * bits / 8


class Instruction(NamedTuple):
    """One line.

    Attributes:
      shapes: of what it makes, a tuple's elements one after the other.
      operands: names of instructions of the same computation.
      literal: what stands between its parentheses.
      attributes: what stands behind them.
    """

    name: str
    opcode: str
    shapes: tuple[Shape, ...]
    operands: tuple[str, ...]
    literal: str
    attributes: str

    def called(self, *roles: str) -> list[str]:
        """The computations that it calls as one of `roles`: "body", "calls", .."""
        return [name for role in roles for name in re.findall(rf"\b{role}=%?([\w.\-]+)", self.attributes)]

    def numbers(self, attribute: str) -> tuple[int, ...]:
        """Of an attribute such as lhs_contracting_dims={1,2}."""
        found = re.search(rf"\b{attribute}={{([\d,]*)}}", self.attributes)
        return tuple(int(n) for n in found[1].split(",") if n) if found else ()


@dataclasses.dataclass(frozen=True)
class Computation:
    """Instructions by name, in the order of the text, which is one of execution where it is scheduled."""

    name: str
    instructions: dict[str, Instruction]
    root: str


class Program(NamedTuple):
    """A module. `partitions` is the number of devices that run it together."""

    computations: dict[str, Computation]
    entry: str
    partitions: int


SHAPE = re.compile(r"([a-z]\w*)\[([\d,<= ]*)\](\{[^}]*\})?")
NAMED = re.compile(r"\s+(ROOT )?%?([\w.\-]+) = (.*)")
HEADER = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{$")


def parse(text: str) -> Program:
    """Reads the text of a module."""
    computations: dict[str, Computation] = {}
    entry, name, root = "", "", ""
    found: dict[str, Instruction] = {}
    for line in text.splitlines():
        header = HEADER.match(line)
        if header:
            name, root, found = header[2], "", {}
            entry = name if header[1] else entry
        elif line == "}":
            computations[name] = Computation(name, found, root)
        elif named := NAMED.match(line):
            found[named[2]] = _instruction(named[2], named[3])
            root = named[2] if named[1] else root
    partitions = re.search(r"\bnum_partitions=(\d+)", text[: text.find("\n")])
    return Program(computations, entry, int(partitions[1]) if partitions else 1)


def _instruction(name: str, text: str) -> Instruction:
    end = _close(text, 0) if text.startswith("(") else text.index(" ")
    begin = text.index("(", end)
    opcode, last = text[end:begin].strip(), _close(text, begin)
    literal = text[begin + 1 : last - 1]
    shapes = tuple(_shape(*match) for match in SHAPE.findall(text[:end]))
    return Instruction(name, opcode, shapes, tuple(re.findall(r"%([\w.\-]+)", literal)), literal, text[last:])


def _shape(dtype: str, dims: str, layout: str) -> Shape:
    space = re.search(r"S\((\d+)\)", layout)
    sizes = (re.sub(r"\D", "", size) for size in dims.split(","))
    return Shape(dtype, tuple(int(size) for size in sizes if size), int(space[1]) if space else 0)


def _close(text: str, begin: int) -> int:
    """The place behind the parenthesis that closes the one at `begin`."""
    depth = 0
    for place in range(begin, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if not depth:
            return place + 1
    raise ValueError(f"unbalanced parentheses in {text[:80]!r}")
