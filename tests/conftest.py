"""Strict surroundings for every test: eight CPU devices, no silent broadcasting, no network, no chance.

Warnings are errors too; the exceptions stand by name in pyproject.toml.
"""

import os
import pathlib

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["HF_HUB_OFFLINE"] = "1"
# A third less time to compile; what is computed is the same (docs/performance.md).
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=1"

import hypothesis
import jax
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent

jax.config.update("jax_num_cpu_devices", 8)  # a setting of this process: the ones that tests start have one
jax.config.update("jax_numpy_rank_promotion", "raise")

# No deadline: an example that compiles takes long. Derandomized: a run says of the code, not of luck.
hypothesis.settings.register_profile("laws", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("laws")


@pytest.fixture(scope="session", autouse=True)
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What one test compiles, the others load, those of the other worker too; the next run begins afresh."""
    base = tmp_path_factory.getbasetemp()
    run = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(run / "compiled")  # for the programs that tests start
    jax.config.update("jax_compilation_cache_dir", str(run / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """The folder of real catalogs, or a skip where it is absent."""
    folder = pathlib.Path(os.environ.get("TAGGEN_SHARED", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real catalogs in {folder}; TAGGEN_SHARED names their folder")
    return folder
