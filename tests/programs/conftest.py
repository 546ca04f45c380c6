"""One tiny experiment, prepared and trained once, for all tests of the programs."""

import dataclasses
import pathlib

import pytest

from taggen_jax import prepare, train
from taggen_jax.catalog import demo
from taggen_jax.data.stream import StreamConfig
from taggen_jax.data.tokenizer import TokenizerConfig
from taggen_jax.decode.beam import DecodeConfig
from taggen_jax.experiment import Experiment, GenerateConfig
from taggen_jax.models.t5 import T5Config
from taggen_jax.training.optimizer import OptimizerConfig
from taggen_jax.training.step import TrainConfig

EXPERIMENT = Experiment(
    text=("title", "category"),
    tokenizer=TokenizerConfig(vocab_size=800),
    stream=StreamConfig(source_length=24, target_length=40, batch_size=16),
    model=T5Config(
        vocab_size=800,
        d_model=16,
        d_mlp=32,
        n_heads=2,
        head_dim=8,
        encoder_layers=1,
        decoder_layers=1,
        dropout=0.1,
    ),
    train=TrainConfig(
        steps=6,
        eval_every=3,
        eval_products=16,
        optimizer=OptimizerConfig(learning_rate=0.01, schedule="constant", warmup_steps=0),
    ),
    generate=GenerateConfig(batch_size=16, decode=DecodeConfig(beams=2, n_best=2, max_length=8)),
)
PRODUCTS = 200


@dataclasses.dataclass(frozen=True)
class Trained:
    """Where the catalog, the prepared data and the workdir lie."""

    catalog: pathlib.Path
    data: pathlib.Path
    workdir: pathlib.Path


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Trained:
    root = tmp_path_factory.mktemp("programs")
    paths = Trained(root / "catalog.jsonl", root / "data", root / "workdir")
    demo.write(paths.catalog, PRODUCTS)
    prepare.run(EXPERIMENT, paths.data, input=[str(paths.catalog)])
    train.run(EXPERIMENT, paths.data, paths.workdir)
    return paths


@pytest.fixture(scope="session")
def config_file(tmp_path_factory) -> pathlib.Path:
    """The tiny experiment as a config file, which says only what differs from the defaults."""
    path = tmp_path_factory.mktemp("config") / "tiny.py"
    path.write_text(
        "from taggen_jax.data.tokenizer import TokenizerConfig\n"
        "from taggen_jax.experiment import Experiment, config_dict\n"
        "def get_config():\n"
        "    return config_dict(Experiment(text=('title',), tokenizer=TokenizerConfig(vocab_size=400)))\n"
    )
    return path


@pytest.fixture(scope="session")
def trained_experiment() -> Experiment:
    """What `trained` was made with."""
    return EXPERIMENT
