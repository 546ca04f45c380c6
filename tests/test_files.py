"""Laws of files: whole or absent, whatever happens while they are written."""

import pathlib
import stat

import pytest

from taggen_jax.errors import UserError
from taggen_jax.files import atomic_write, read_json, write_json


class Killed(BaseException):
    """Stands for any end of the program, Ctrl-C among them."""


def test_a_file_appears_only_when_it_is_whole(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "new" / "file.txt"
    with atomic_write(path) as file:
        file.write("half")
        file.flush()
        assert not path.exists()
        file.write(" and half\n")
    assert path.read_bytes() == b"half and half\n"
    assert [child.name for child in path.parent.iterdir()] == ["file.txt"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(Killed), atomic_write(path) as file:
        file.write("new")
        raise Killed
    assert path.read_text() == "old"
    assert [child.name for child in tmp_path.iterdir()] == ["file.txt"]


def test_others_may_read_what_is_written(tmp_path: pathlib.Path) -> None:
    write_json(tmp_path / "file.json", {})
    assert stat.S_IMODE((tmp_path / "file.json").stat().st_mode) == 0o644


def test_json_goes_out_and_in_without_loss(tmp_path: pathlib.Path) -> None:
    value = {"标签": ["é", 1, 0.1, None, True], "nested": {"a": []}}
    write_json(tmp_path / "file.json", value)
    assert read_json(tmp_path / "file.json", "it") == value
    assert "标签" in (tmp_path / "file.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_refuses_what_is_not_json(tmp_path: pathlib.Path, value: float) -> None:
    with pytest.raises(ValueError, match="Out of range float values"):
        write_json(tmp_path / "file.json", {"x": value})
    assert not list(tmp_path.iterdir())


def test_a_missing_and_a_broken_file_are_named_with_their_role(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "config.json"
    with pytest.raises(UserError, match=r"config.json: the workdir's config is missing; check"):
        read_json(path, "the workdir's config")
    path.write_text("{")
    with pytest.raises(
        UserError, match=r"config.json: the workdir's config is not valid JSON \(.*\); make it anew"
    ):
        read_json(path, "the workdir's config")
