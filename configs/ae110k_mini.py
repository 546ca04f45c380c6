"""T5 mini (13.6 million parameters) on AE-110K's ten categories from random initialisation.

AE-110K (the subset of ExtractGPT): 1,568 product titles of AliExpress with attribute values as tags,
"Material: Metal".

Commands: taggen prepare --config=configs/ae110k_mini.py --train=AE110K/train.jsonl.gz
--test=AE110K/test.jsonl.gz \\
            --output=runs/ae110k/data
          taggen train --config=configs/ae110k_mini.py --data=runs/ae110k/data --workdir=runs/ae110k/mini
          taggen evaluate --workdir=runs/ae110k/mini --data=runs/ae110k/data --split=test
Expected: docs/results.md
Cost:     about 12 minutes of training on two CPU cores
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
            text=("category", "title"),
            catalog=CatalogConfig(description="", reviews="", attributes="", language="", group=""),
            tokenizer=TokenizerConfig(vocab_size=4096),
            stream=StreamConfig(source_length=64, target_length=64, batch_size=32),
            model=T5Config(
                vocab_size=8192,
                d_model=256,
                d_mlp=1024,
                n_heads=4,
                head_dim=64,
                encoder_layers=4,
                decoder_layers=4,
            ),
            train=TrainConfig(
                steps=1000,
                eval_every=250,
                optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=100),
            ),
            generate=GenerateConfig(batch_size=64, decode=DecodeConfig(max_length=64)),
        )
    )
