"""From nested mappings to frozen dataclasses and back: the only place where a configuration is parsed.

Every room keeps the dataclass of its own settings beside the code that reads them; this file knows none of
them. `from_dict` refuses an unknown field and a value of the wrong type by name, so that a misspelt option
never passes silently.
"""

import collections.abc
import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from taggen_jax.errors import UserError

T = TypeVar("T")


def from_dict(cls: type[T], values: Mapping[str, Any], where: str = "config") -> T:
    """Builds the dataclass `cls` from a mapping, nested dataclasses included.

    Args:
      cls: a dataclass; fields may be scalars, tuples, mappings, or dataclasses.
      values: a mapping from field names to values; absent fields keep their defaults.
      where: dotted path of `values`, for error messages.

    Raises:
      UserError: an unknown field, a missing one without default, or a value of the wrong type.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"{where}: got {type(values).__name__} {values!r}, expected fields of {cls.__name__}")
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for name in values:
        if name not in fields:
            close = difflib.get_close_matches(str(name), fields, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"its fields are {', '.join(fields)}"
            raise UserError(f"{where}.{name}: no such field in {cls.__name__}; {hint}")
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise UserError(f"{where}.{name}: missing, and {cls.__name__} has no default for it")
    parsed = {name: _parse(hints[name], value, f"{where}.{name}") for name, value in values.items()}
    try:
        return cls(**parsed)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error


def to_dict(config: Any) -> dict[str, Any]:
    """The inverse of `from_dict`: plain dicts, lists and scalars, ready for JSON."""
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def _parse(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else from_dict(hint, value, where)  # type: ignore[arg-type]
    if origin is typing.Literal:
        if value not in args:
            raise UserError(f"{where}: got {value!r}, expected one of {', '.join(map(repr, args))}")
        return value
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, collections.abc.Sequence):
            raise UserError(f"{where}: got {value!r}, expected a list of values")
        return tuple(_parse(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin in (dict, collections.abc.Mapping):
        if not isinstance(value, Mapping):
            raise UserError(f"{where}: got {value!r}, expected a mapping")
        return types.MappingProxyType({str(k): _parse(args[1], v, f"{where}.{k}") for k, v in value.items()})
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise UserError(f"{where}: got {type(value).__name__} {value!r}, expected {hint.__name__}")
    return value
