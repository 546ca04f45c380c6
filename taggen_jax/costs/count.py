"""What a compiled program costs each device: FLOPs, bytes moved, bytes sent, loops counted as often as they
run.

The compiler's own `cost_analysis` counts a loop's body once. Here every computation is counted as often as it
is called. FLOPs are those of matrix products and convolutions (which is what a product becomes on a TPU), two
for a multiplication with its addition; products with padding do not count.
"""

import collections
import dataclasses
import functools
import math
import re
from collections.abc import Sequence

import numpy as np

from taggen_jax.costs.hlo import Computation, Instruction, Program, Shape, parse
from taggen_jax.costs.loops import Given, evaluate, trips, unchanged
from taggen_jax.costs.traffic import moved

COLLECTIVES = (
    *("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "ragged-all-to-all"),
    *("collective-permute", "collective-broadcast"),
)


@dataclasses.dataclass
class Counts:
    """Of one device.

    Attributes:
      flops: of matrix products and convolutions.
      moved: bytes read from and written to main memory, as if each instruction did so for itself.
      sent: kind of collective -> bytes that leave the device over the links, by the ring algorithm.
      calls: kind of collective -> how many times.
      unknown: loops whose number of iterations is not in the program; they count once.
    """

    flops: float = 0.0
    moved: float = 0.0
    sent: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    calls: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    unknown: tuple[str, ...] = ()

    def add(self, other: "Counts", times: int = 1) -> None:
        """Adds what happens `times` times."""
        self.flops += times * other.flops
        self.moved += times * other.moved
        for mine, theirs in ((self.sent, other.sent), (self.calls, other.calls)):
            mine.update({kind: times * value for kind, value in theirs.items()})
        self.unknown += other.unknown


def count(text: str) -> Counts:
    """Of a whole program, from `compiled.as_text()`."""
    program = parse(text)
    entry = program.computations[program.entry]
    return _computation(program, entry, [lambda: None] * len(entry.instructions), fused=False)


def _computation(program: Program, computation: Computation, given: Sequence[Given], fused: bool) -> Counts:
    total = Counts()
    for instruction in computation.instructions.values():
        if not fused:
            total.moved += moved(program, computation, instruction)
        total.add(_instruction(program, computation, instruction, given, fused))
    return total


def _instruction(
    program: Program, computation: Computation, one: Instruction, given: Sequence[Given], fused: bool
) -> Counts:
    """Without the bytes that the instruction itself moves."""

    def inner(name: str, given: Sequence[Given], fused: bool = fused) -> Counts:
        return _computation(program, program.computations[name], given, fused)

    operands = [computation.instructions[name] for name in one.operands]
    values = [functools.partial(evaluate, program, computation, name, given) for name in one.operands]
    kind = one.opcode.removesuffix("-start")
    if one.opcode == "dot":
        return Counts(flops=dot_flops(one, operands[0].shapes[0]))
    if one.opcode == "custom-call" and "__cublas" in one.attributes:
        return Counts(flops=library_flops(one, operands[0].shapes[0]))
    if one.opcode == "custom-call" and "__cudnn$fmha" in one.attributes:
        return Counts(flops=attention_flops(one, operands[0].shapes[0], operands[1].shapes[0]))
    if one.opcode == "convolution":
        return Counts(flops=convolution_flops(one, operands[0].shapes[0], operands[1].shapes[0]))
    if kind in COLLECTIVES:
        kind = "reduce-scatter" if computation.name.startswith("all-reduce-scatter") else kind
        size = sum(shape.bytes for x in operands for shape in x.shapes)
        sent = wire_bytes(kind, size, group_size(one, program.partitions))
        return Counts(sent=collections.Counter({kind: sent}), calls=collections.Counter({kind: 1}))
    total = Counts()
    if one.opcode == "while":
        often, (body,) = trips(program, computation, one, given), one.called("body")
        state = unchanged(program, program.computations[body], values[0])
        total.add(inner(body, [lambda: state]), 1 if often is None else often)
        total.unknown += (one.name,) if often is None else ()
    elif one.opcode == "conditional":
        names = re.findall(
            r"%([\w.\-]+)", "".join(re.findall(r"branch_computations={([^}]*)}", one.attributes))
        )
        branches = names or one.called("true_computation", "false_computation")
        total.add(
            max(
                (inner(name, values[1 + i : 2 + i]) for i, name in enumerate(branches)),
                key=lambda x: (x.flops, x.moved),
            )
        )
    elif one.opcode in ("fusion", "call", "async-start", "custom-call"):
        for name in one.called("calls", "to_apply"):
            total.add(inner(name, values, fused or one.opcode == "fusion"))
    return total


def dot_flops(one: Instruction, left: Shape) -> float:
    """Of a `dot`, whose left operand is `left`."""
    contracted = math.prod(left.dims[axis] for axis in one.numbers("lhs_contracting_dims"))
    return 2.0 * math.prod(one.shapes[0].dims) * contracted


def library_flops(one: Instruction, left: Shape) -> float:
    """Of a matrix product that XLA leaves to cuBLAS; its axes stand in the call's configuration."""
    axes = re.search(r'"lhs_contracting_dimensions":\[([\d",]*)\]', one.attributes)
    if not axes:
        raise ValueError(f"{one.name}: a call of cuBLAS without dot_dimension_numbers")
    contracted = math.prod(left.dims[int(axis)] for axis in re.findall(r"\d+", axes[1]))
    return 2.0 * math.prod(one.shapes[0].dims) * contracted


def attention_flops(one: Instruction, queries: Shape, keys: Shape) -> float:
    """Of cuDNN's flash attention [B, T, H, K] x [B, S, H, K]: two products; five in the backward pass, which
    computes the logits anew.
    """
    products = 5 if "Backward" in one.attributes else 2
    return 2.0 * products * math.prod(queries.dims) * keys.dims[1]


def convolution_flops(one: Instruction, left: Shape, right: Shape) -> float:
    """Of a `convolution`: what falls on padding or between dilated inputs is not computed."""
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", one.attributes)
    if not labels:
        raise ValueError(f"convolution {one.name} has no dim_labels")
    inputs, kernel, output = labels.groups()
    spatial = sorted(label for label in inputs if label.isdigit())  # the order of the window
    hits = 1
    for place, label in enumerate(spatial):
        hits *= _hits(
            left.dims[inputs.index(label)],
            right.dims[kernel.index(label)],
            one.shapes[0].dims[output.index(label)],
            **{name: value[place] for name, value in _window(one, len(spatial)).items()},
        )
    groups = re.search(r"batch_group_count=(\d+)", one.attributes)
    rows = left.dims[inputs.index("b")] // (int(groups[1]) if groups else 1)
    features = right.dims[kernel.index("i")] * one.shapes[0].dims[output.index("f")]
    return 2.0 * rows * features * hits


def _window(one: Instruction, axes: int) -> dict[str, list[int]]:
    """Of each spatial axis: stride, padding before it, dilation of input and kernel."""
    text = re.search(r"window={([^}]*)}", one.attributes)
    given = dict(part.split("=") for part in text[1].split()) if text else {}

    def numbers(name: str, default: str) -> list[int]:
        return [int(part.split("_")[0]) for part in given.get(name, "x".join([default] * axes)).split("x")]

    return {
        "stride": numbers("stride", "1"),
        "before": numbers("pad", "0_0"),
        "input_step": numbers("lhs_dilate", "1"),
        "kernel_step": numbers("rhs_dilate", "1"),
    }


def _hits(
    size: int, kernel: int, output: int, *, stride: int, before: int, input_step: int, kernel_step: int
) -> int:
    """How many pairs of a kernel and an output place meet an input."""
    place = np.arange(output)[:, None] * stride + np.arange(kernel)[None] * kernel_step - before
    inside = (place >= 0) & (place <= (size - 1) * input_step)
    return int(np.count_nonzero(inside & (place % input_step == 0)))


def group_size(one: Instruction, partitions: int) -> int:
    """How many devices take part in a collective; XLA has four ways of writing it."""
    text = one.attributes
    if iota := re.search(r"replica_groups=\[(?:\d+,)?(\d+)\]<=", text):  # [groups,devices]<=[all]
        return int(iota[1])
    if mesh := re.search(
        r"replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}", text
    ):  # the named axes of a mesh
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", mesh[1]))
        axes = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", mesh[2])  # 'axis':(before)part where it is split
        return math.prod(int(part or sizes[axis]) for axis, part in axes)
    groups = re.search(r"replica_groups={{([\d,]*)}", text)
    return groups[1].count(",") + 1 if groups else partitions


def wire_bytes(kind: str, size: float, devices: int) -> float:
    """What a device sends, by the ring algorithm, when it brings `size` bytes to a collective of so many."""
    others = (devices - 1) / devices
    factors = {"all-gather": devices - 1.0, "all-reduce": 2 * others, "reduce-scatter": others}
    return size * (factors | {"all-to-all": others, "ragged-all-to-all": others}).get(kind, 1.0)
