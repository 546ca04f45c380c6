"""Strict surroundings for every test: eight CPU devices, no silent broadcasting, no network, no chance.

Warnings are errors too; the exceptions stand by name in pyproject.toml.
"""

import os
import pathlib

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["HF_HUB_OFFLINE"] = "1"

import hypothesis
import jax
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent

jax.config.update("jax_num_cpu_devices", 8)  # a setting of this process: the ones that tests start have one
jax.config.update("jax_numpy_rank_promotion", "raise")

# No deadline: an example that compiles takes long. Derandomized: a run says of the code, not of luck.
hypothesis.settings.register_profile("laws", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("laws")


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """The folder of real catalogs, or a skip where it is absent."""
    folder = pathlib.Path(os.environ.get("TAGGEN_SHARED", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real catalogs in {folder}; TAGGEN_SHARED names their folder")
    return folder
