"""Compiled programs are kept where users expect caches, and where they said, and nowhere else."""

import os
import subprocess
import sys

import pytest

from taggen_jax.compilations import VARIABLE, keep

PROGRAM = """
import os
from taggen_jax.compilations import keep
keep(os.environ)
import jax
print(jax.jit(lambda x: x * 2 + 1)(1.0))
"""


def run(**more: str) -> None:
    environ = {name: value for name, value in os.environ.items() if name != VARIABLE}
    environ |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"} | more
    subprocess.run([sys.executable, "-c", PROGRAM], env=environ, check=True, capture_output=True)


def test_a_program_lies_in_the_users_cache(tmp_path):
    run(XDG_CACHE_HOME=str(tmp_path))
    (folder,) = (tmp_path / "taggen-jax").iterdir()
    kept = {path.name for path in folder.iterdir()}
    assert kept
    run(XDG_CACHE_HOME=str(tmp_path))
    assert {path.name for path in folder.iterdir() if not path.name.endswith("-atime")} <= kept


@pytest.mark.parametrize("value", ["", "/elsewhere"])
def test_what_the_user_says_stays(value):
    environ = {"HOME": "/home/ada", VARIABLE: value}
    keep(environ)
    assert environ[VARIABLE] == value


def test_without_a_home_nothing_is_kept():
    environ: dict[str, str] = {}
    keep(environ)
    assert not environ
    keep(environ := {"HOME": "/home/ada"})
    assert environ[VARIABLE].startswith("/home/ada/.cache/taggen-jax/")
