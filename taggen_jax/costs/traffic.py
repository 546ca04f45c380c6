"""The bytes that one instruction of a compiled program reads from main memory and writes to it.

An estimate from the text: every instruction that is not inside a fusion reads its operands and writes its
result, whole, except where it plainly touches a part: a slice, a gathered row, a slot written in place. What
lies on the chip itself (a TPU's vector memory) costs nothing.
"""

from taggen_jax.costs.hlo import Computation, Instruction, Program, Shape

FREE = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional", "call"),
    *("after-all", "partition-id", "replica-id", "optimization-barrier", "async-start", "iota", "broadcast"),
}
PARTS = {"dynamic-slice", "slice", "gather"}  # read no more than they return


def size(shapes: tuple[Shape, ...]) -> float:
    """Of what lies in main memory."""
    return sum(shape.bytes for shape in shapes if shape.space == 0)


def moved(program: Program, computation: Computation, one: Instruction) -> float:
    """Bytes of one instruction; 0 of one that only names things, or that ends what another began."""
    if one.opcode in FREE or one.opcode.endswith("-done") or "AllocateBuffer" in one.attributes:
        return 0.0
    operands = [computation.instructions[name] for name in one.operands]
    if one.opcode == "dynamic-update-slice":
        return 2 * size(operands[1].shapes)
    if one.opcode in PARTS:
        return 2 * size(one.shapes)
    if one.opcode.endswith("-start"):  # its result names its operands again
        return sum(size(x.shapes) for x in operands) + size(one.shapes[:1])
    if one.opcode == "fusion":
        return _fusion(program, one, operands)
    return size(one.shapes) + sum(size(x.shapes) for x in operands)


def _fusion(program: Program, one: Instruction, operands: list[Instruction]) -> float:
    inner = program.computations[one.called("calls")[0]]
    written = _source(inner, inner.root)
    in_place = written.opcode == "dynamic-update-slice"
    total = size(one.shapes)
    if in_place and total:
        total = inner.instructions[written.operands[1]].shapes[0].bytes
    for parameter in inner.instructions.values():
        if parameter.opcode != "parameter":
            continue
        if in_place and _source(inner, written.operands[0]).name == parameter.name:
            continue
        whole = size(operands[int(parameter.literal)].shapes)
        total += min(whole, _read(program, inner, parameter.name)) if whole else 0.0
    return total


def _read(program: Program, computation: Computation, name: str) -> float:
    """The bytes of an array that its users inside a fusion look at, each by itself."""
    total = 0.0
    for user in computation.instructions.values():
        if name not in user.operands:
            continue
        if user.opcode in PARTS and user.operands[0] == name:
            total += user.shapes[0].bytes
        elif user.opcode == "bitcast":
            total += _read(program, computation, user.name)
        elif user.opcode == "fusion":
            inner = program.computations[user.called("calls")[0]]
            total += sum(
                _read(program, inner, x.name)
                for x in inner.instructions.values()
                if x.opcode == "parameter" and user.operands[int(x.literal)] == name
            )
        else:
            return computation.instructions[name].shapes[0].bytes
    return total


def _source(computation: Computation, name: str) -> Instruction:
    """An instruction, or what it only renames."""
    one = computation.instructions[name]
    while one.opcode in ("bitcast", "copy"):
        one = computation.instructions[one.operands[0]]
    return one
