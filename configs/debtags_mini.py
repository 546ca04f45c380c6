"""T5 mini (13.6 million parameters) on debtags from random initialisation.

debtags: 27,353 Debian packages with a title, a description and faceted tags such as interface::commandline.

Commands: taggen prepare --config=configs/debtags_mini.py --train=DEBTAGS/train.jsonl.gz \\
            --validation=DEBTAGS/validation.jsonl.gz --test=DEBTAGS/test.jsonl.gz --output=runs/debtags/data
          taggen train --config=configs/debtags_mini.py --data=runs/debtags/data --workdir=runs/debtags/mini
          taggen evaluate --workdir=runs/debtags/mini --data=runs/debtags/data --split=test
Expected: docs/results.md
Cost:     under 60 minutes of training on two CPU cores
"""

import ml_collections

from taggen_jax.catalog.readers import CatalogConfig
from taggen_jax.data.stream import StreamConfig
from taggen_jax.data.tokenizer import TokenizerConfig
from taggen_jax.decode.beam import DecodeConfig
from taggen_jax.experiment import Experiment, GenerateConfig, config_dict
from taggen_jax.models.t5 import T5Config
from taggen_jax.training.optimizer import OptimizerConfig
from taggen_jax.training.step import TrainConfig


def get_config() -> ml_collections.ConfigDict:
    return config_dict(
        Experiment(
            text=("id", "title", "description"),
            catalog=CatalogConfig(reviews="", attributes="", category="", language=""),
            tokenizer=TokenizerConfig(vocab_size=8192),
            stream=StreamConfig(source_length=64, target_length=32, batch_size=32),
            model=T5Config(  # no dropout: an hour of two cores is three epochs, far from over-fitting
                vocab_size=8192,
                d_model=256,
                d_mlp=1024,
                n_heads=4,
                head_dim=64,
                encoder_layers=4,
                decoder_layers=4,
                dropout=0.0,
            ),
            train=TrainConfig(
                steps=1400,
                eval_every=350,
                eval_products=512,
                optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=150, weight_decay=0.01),
            ),
            generate=GenerateConfig(batch_size=64, decode=DecodeConfig(beams=4, n_best=4, max_length=32)),
        )
    )
