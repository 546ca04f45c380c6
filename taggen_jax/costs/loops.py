"""How often the loops of a compiled program run: by evaluating its scalar integers, as far as they are known.

XLA writes "known_trip_count" on some backends. On the others the counter's start, step and bound stand in
the program, often handed in from outside the loop, so that the values of what a loop never changes are
carried along into its body.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

from taggen_jax.costs.hlo import Computation, Instruction, Program

Value = Any  # an int; a function from index to value, for a tuple; or None where it is not known
Given = Callable[[], Value]  # what a parameter is, when asked

TOO_OFTEN = 100_000  # iterations of a loop without known_trip_count that are followed
SAME = {"copy", "bitcast", "convert", "reshape", "copy-done", "optimization-barrier"}
OF_TWO: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "minimum": min,
    "maximum": max,
}
COMPARE: dict[str, Callable[[int, int], bool]] = {
    "LT": lambda a, b: a < b,
    "LE": lambda a, b: a <= b,
    "GT": lambda a, b: a > b,
    "GE": lambda a, b: a >= b,
    "EQ": lambda a, b: a == b,
    "NE": lambda a, b: a != b,
}


def evaluate(program: Program, computation: Computation, name: str, given: Sequence[Given]) -> Value:
    """The value of an instruction, where it follows from constants and from what is given."""
    instruction = computation.instructions[name]

    def operand(i: int) -> Value:
        return evaluate(program, computation, instruction.operands[i], given)

    op, literal = instruction.opcode, instruction.literal
    if op == "parameter":
        return given[int(literal)]()
    if op == "tuple":
        return operand
    if op == "get-tuple-element":
        whole, index = operand(0), re.search(r"index=(\d+)", instruction.attributes)
        return whole(int(index[1])) if callable(whole) and index else None
    if op == "while":
        return unchanged(program, program.computations[instruction.called("body")[0]], lambda: operand(0))
    if len(instruction.shapes) != 1 or instruction.shapes[0].dims:
        return None
    if op == "constant":
        return int(literal) if re.fullmatch(r"-?\d+", literal) else {"true": 1, "false": 0}.get(literal)
    if op in SAME:
        return operand(0)
    if op in ("fusion", "call"):
        inner = program.computations[instruction.called("calls", "to_apply")[0]]
        places = range(len(instruction.operands))
        return evaluate(program, inner, inner.root, [lambda i=i: operand(i) for i in places])  # type: ignore[misc]
    if op == "and":  # where only one side is known, as if the other held
        known = [value for value in (operand(0), operand(1)) if value is not None]
        return min(known) if known else None
    if op in OF_TWO or op == "compare":
        a, b = operand(0), operand(1)
        if a is None or b is None:
            return None
        return OF_TWO[op](a, b) if op in OF_TWO else _compared(instruction, a, b)
    return None


def _compared(instruction: Instruction, a: int, b: int) -> bool:
    direction = re.search(r"direction=(\w+)", instruction.attributes)
    return COMPARE[direction[1] if direction else "EQ"](a, b)


def unchanged(program: Program, body: Computation, start: Given) -> Callable[[int], Value]:
    """The elements of a loop's state that no iteration changes; None for the others."""

    def element(i: int) -> Value:
        root = body.instructions[body.root]
        if root.opcode != "tuple":
            return None
        last = body.instructions[root.operands[i]]
        while last.opcode == "copy":
            last = body.instructions[last.operands[0]]
        stays = last.opcode == "get-tuple-element" and re.search(rf"index={i}\b", last.attributes)
        before = start()
        return before(i) if stays and callable(before) else None

    return element


def trips(
    program: Program, computation: Computation, loop: Instruction, given: Sequence[Given]
) -> int | None:
    """How often a `while` runs, at most (a search may stop early); None where the program does not say."""
    known = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', loop.attributes)
    if known:
        return int(known[1])
    (condition,), (body,) = (
        [program.computations[name] for name in loop.called(role)] for role in ("condition", "body")
    )
    start = evaluate(program, computation, loop.operands[0], given)
    if not callable(start):
        return None
    values: dict[int, Value] = {}

    def state(i: int) -> Value:
        if i not in values:
            values[i] = start(i)
        return values[i]

    for count in range(TOO_OFTEN):
        goes_on = evaluate(program, condition, condition.root, [lambda: state])
        if goes_on is None:
            return None
        if not goes_on:
            return count
        seen = 0
        while seen < len(values):  # what the counters depend on is followed as well
            seen = len(values)
            after = evaluate(program, body, body.root, [lambda: state])
            if not callable(after):
                return None
            new = {i: after(i) for i in list(values)}
        values.update(new)
    return None
