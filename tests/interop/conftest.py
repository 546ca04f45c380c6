"""Random small T5 models of the zoo, and folders of them."""

import pathlib

import pytest

from tools import zoo

T5 = ("t5-v1.0", "t5-v1.0-untied", "t5-v1.1", "t5-v1.1-tied")


@pytest.fixture(scope="session", autouse=True)
def quiet_transformers() -> None:
    zoo.quiet()


@pytest.fixture(params=T5)
def variant(request: pytest.FixtureRequest) -> str:
    """Each of the four variants in turn."""
    return str(request.param)


@pytest.fixture
def hf_folder(variant: str, tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder as `save_pretrained` writes it."""
    zoo.make(variant, 0).save_pretrained(tmp_path / "hf")
    return tmp_path / "hf"
