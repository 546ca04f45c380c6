"""taggen demo: the whole way on the embedded catalog, from rows to tags with scores."""

import json
import pathlib
import time

from taggen_jax import evaluate, prepare, train
from taggen_jax.catalog import demo as catalog
from taggen_jax.data.stream import StreamConfig
from taggen_jax.data.tokenizer import TokenizerConfig
from taggen_jax.decode.beam import DecodeConfig
from taggen_jax.experiment import Experiment, GenerateConfig
from taggen_jax.models.t5 import T5Config
from taggen_jax.prepared import Prepared
from taggen_jax.training.optimizer import OptimizerConfig
from taggen_jax.training.step import TrainConfig

WORKDIR = pathlib.Path("runs/demo")
PRODUCTS = 4000
SHOWN = 5


def experiment() -> Experiment:
    """A T5 of 1.6 million parameters, from random initialisation."""
    return Experiment(
        text=("title", "attributes", "reviews", "description"),
        tokenizer=TokenizerConfig(vocab_size=2048),
        stream=StreamConfig(source_length=96, target_length=40, batch_size=32),
        model=T5Config(
            vocab_size=2048,
            d_model=128,
            d_mlp=256,
            n_heads=4,
            head_dim=32,
            encoder_layers=2,
            decoder_layers=2,
            dropout=0.0,
        ),
        train=TrainConfig(
            steps=400,
            optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=100),
        ),
        generate=GenerateConfig(batch_size=64, decode=DecodeConfig(max_length=40)),
    )


def run(experiment: Experiment, workdir: pathlib.Path | None = None) -> None:
    """Prepares, trains, evaluates and shows some products; run again, it goes on where it stopped."""
    workdir, begin = workdir or WORKDIR, time.monotonic()
    data = workdir / "data"
    if not data.exists():
        catalog.write(workdir / "catalog.jsonl", PRODUCTS)
        prepare.run(experiment, data, input=[str(workdir / "catalog.jsonl")])
    train.run(experiment, data, workdir)
    evaluate.run(workdir, data)
    show(workdir, Prepared(data))
    print(f"\nworkdir {workdir}, {time.monotonic() - begin:.0f} s; tag a catalog of your own with it:")
    print(f"  taggen generate --workdir={workdir} --input={workdir}/catalog.jsonl --output=tagged")


def show(workdir: pathlib.Path, prepared: Prepared) -> None:
    """Prints some held-out products, spread over the split, with the tags written for them."""
    lines = (workdir / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    source = prepared.source("test")
    for index in range(0, len(source), -(-len(source) // SHOWN)):
        line, row = json.loads(lines[index]), source[index]
        text = row["text"] if len(row["text"]) < 100 else row["text"][:99] + "…"
        tags = ", ".join(
            f"{tag} {score:.2f}" for tag, score in zip(line["tags"], line["scores"], strict=True)
        )
        print(f"\n{text}\n  tags: {tags}\n  gold: {', '.join(line['gold'])}")
