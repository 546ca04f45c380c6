"""Random small T5 models of the zoo, made by transformers itself: four variants, nothing downloaded."""

import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from tools import zoo

VARIANTS = ("v1.0", "v1.0-untied", "v1.1", "v1.1-tied")
Reference = Any


def random_model(variant: str, seed: int, eos_scale: float = 1.0) -> Reference:
    """See `zoo`: every weight drawn anew; eos_scale makes the end compete."""
    return zoo.VARIANTS[f"t5-{variant}"](seed, eos_scale)


@pytest.fixture(scope="session", autouse=True)
def quiet_transformers() -> None:
    zoo.quiet()


@pytest.fixture
def make_model() -> Callable[..., Reference]:
    """(variant, seed, eos_scale=1.0) -> a random model of transformers."""
    return random_model


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    """Each of the four variants in turn."""
    return str(request.param)


@pytest.fixture
def hf_folder(variant: str, tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder as `save_pretrained` writes it."""
    random_model(variant, 0).save_pretrained(tmp_path / "hf")
    return tmp_path / "hf"
