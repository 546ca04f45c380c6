"""The FLOPs of a traced program, before any compiler sees it: what a model costs by its formula.

Products inside a scan count as often as it runs. A `while` loop counts once: how often it runs is not in the
trace.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core


def traced_flops(function: Callable[..., Any], *shapes: Any) -> float:
    """Of all devices together, matrix products only, two for a multiplication with its addition."""
    return _flops(jax.make_jaxpr(function)(*shapes).jaxpr)


def _flops(jaxpr: core.Jaxpr) -> float:
    return sum(map(_equation, jaxpr.eqns))


def _equation(equation: core.JaxprEqn) -> float:
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        left, result = (_shape(variable) for variable in (equation.invars[0], equation.outvars[0]))
        return 2.0 * math.prod(result) * math.prod(left[axis] for axis in contracted)
    inner = [_flops(part) for value in equation.params.values() for part in _jaxprs(value)]
    if equation.primitive.name == "cond":
        return max(inner, default=0.0)
    return float(equation.params["length"] if equation.primitive.name == "scan" else 1) * sum(inner)


def _shape(variable: Any) -> tuple[int, ...]:
    return tuple(variable.aval.shape)


def _jaxprs(value: Any) -> list[core.Jaxpr]:
    if isinstance(value, core.ClosedJaxpr):
        return [value.jaxpr]
    if isinstance(value, core.Jaxpr):
        return [value]
    return [part for item in value for part in _jaxprs(item)] if isinstance(value, tuple | list) else []
