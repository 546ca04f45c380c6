"""Laws of configurations: to a dict and back without loss, and every mistake is named with its place."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taggen_jax.config import from_dict, to_dict
from taggen_jax.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inner:
    width: int = 4
    rate: float = 0.1

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width={self.width} must be at least 1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    on: bool = False
    kind: Literal["small", "large", 3] = "small"
    freeze: tuple[str, ...] = ()
    sizes: tuple[float, ...] = ()
    table: Mapping[str, str] = dataclasses.field(default_factory=dict)
    inner: Inner = dataclasses.field(default_factory=Inner)
    more: tuple[Inner, ...] = ()


inners = st.builds(Inner, width=st.integers(1, 99), rate=st.floats(allow_nan=False, allow_infinity=False))
outers = st.builds(
    Outer,
    name=st.text(),
    on=st.booleans(),
    kind=st.sampled_from(["small", "large", 3]),
    freeze=st.lists(st.text()).map(tuple),
    sizes=st.lists(st.floats(allow_nan=False, allow_infinity=False)).map(tuple),
    table=st.dictionaries(st.text(), st.text()),
    inner=inners,
    more=st.lists(inners, max_size=3).map(tuple),
)


@given(outers)
def test_a_config_survives_json(config: Outer) -> None:
    assert from_dict(Outer, json.loads(json.dumps(to_dict(config)))) == config


def test_absent_fields_keep_their_defaults() -> None:
    assert from_dict(Outer, {"name": "a", "inner": {"width": 2}}) == Outer(name="a", inner=Inner(width=2))


def test_an_integer_is_a_good_float_and_stays_one_no_longer() -> None:
    rate = from_dict(Inner, {"rate": 1}).rate
    assert rate == 1.0 and type(rate) is float


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "config.name: missing, and Outer has no default for it"),
        (
            {"name": "a", "inner": {"widht": 3}},
            "config.inner.widht: no such field in Inner; did you mean 'width'?",
        ),
        ({"name": "a", "zzz": 3}, "config.zzz: no such field in Outer; its fields are name, on, kind"),
        ({"name": 3}, "config.name: got int 3, expected str"),
        ({"name": None}, "config.name: got NoneType None, expected str"),
        ({"name": "a", "on": 1}, "config.on: got int 1, expected bool"),
        ({"name": "a", "inner": {"width": True}}, "config.inner.width: got bool True, expected int"),
        ({"name": "a", "inner": {"width": 2.5}}, "config.inner.width: got float 2.5, expected int"),
        ({"name": "a", "inner": {"rate": "1e-3"}}, "config.inner.rate: got str '1e-3', expected float"),
        ({"name": "a", "inner": {"rate": True}}, "config.inner.rate: got bool True, expected float"),
        ({"name": "a", "inner": 3}, "config.inner: got int 3, expected fields of Inner"),
        ({"name": "a", "kind": "tiny"}, "config.kind: got 'tiny', expected one of 'small', 'large', 3"),
        ({"name": "a", "freeze": "encoder"}, "config.freeze: got 'encoder', expected a list of values"),
        ({"name": "a", "freeze": ["encoder", 3]}, "config.freeze[1]: got int 3, expected str"),
        ({"name": "a", "table": ["x"]}, "config.table: got ['x'], expected a mapping"),
        ({"name": "a", "table": {"x": 1}}, "config.table.x: got int 1, expected str"),
        ({"name": "a", "more": [{}, {"width": 0}]}, "config.more[1]: width=0 must be at least 1"),
    ],
)
def test_a_mistake_is_named_with_its_place(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        from_dict(Outer, values)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_a_parsed_mapping_cannot_be_changed() -> None:
    table: Any = from_dict(Outer, {"name": "a", "table": {"x": "y"}}).table
    with pytest.raises(TypeError):
        table["x"] = "z"
