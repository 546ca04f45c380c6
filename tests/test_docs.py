"""Every `taggen` command in the documentation is one that the command line takes."""

import pathlib
import re
import shlex

import pytest

from taggen_jax import experiment
from taggen_jax.verbs import VERBS

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "configs").glob("*.py")))


def commands(text: str) -> list[list[str]]:
    """The words of every line that starts with `taggen VERB --`, continuation lines joined."""
    joined = re.sub(r"\\+\n\s*", " ", text)
    found = re.findall(r"^[\s$]*(?:\w+:\s+)?(taggen [a-z-]+ --.*)$", joined, flags=re.MULTILINE)
    return [shlex.split(command, comments=True)[1:] for command in found]


COMMANDS = [
    pytest.param(command, id=f"{path.name}: taggen {' '.join(command)}")
    for path in DOCS
    for command in commands(path.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_documented_command_has_flags_that_exist(command):
    name, *rest = command
    verb = VERBS[name]
    for word in rest:
        flag = word.removeprefix("--").partition("=")[0]
        assert word.startswith("--"), f"{word!r} is no flag"
        if flag == "config":
            assert verb.config == "file" and (ROOT / word.partition("=")[2]).suffix == ".py"
        elif flag.startswith("config."):
            assert verb.config and has_field(flag.removeprefix("config."))
        else:
            assert flag in (*verb.needs, *verb.takes)


def has_field(path: str) -> bool:
    settings = experiment.config_dict(experiment.Experiment())
    for part in path.split("."):
        if part not in settings:
            return False
        settings = settings[part]
    return True


def test_there_are_commands_to_check():
    assert len(COMMANDS) > 10
