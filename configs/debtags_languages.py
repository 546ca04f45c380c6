"""T5 mini on debtags in English, German and Chinese: one model, which can do without any one of the fields.

A package has a product of its own for each language that its title is translated to (of the training packages
35% have German and 4% Chinese), with the same tags and in the same split. Fields have markers, and training
leaves them out at random.

Commands: taggen prepare --config=configs/debtags_languages.py --train=DEBTAGS/train.jsonl.gz \\
            --validation=DEBTAGS/validation.jsonl.gz --test=DEBTAGS/test.jsonl.gz \\
            --output=runs/debtags/languages
          taggen train --config=configs/debtags_languages.py --data=runs/debtags/languages \\
            --workdir=runs/debtags/three
          taggen evaluate --workdir=runs/debtags/three --data=runs/debtags/languages --split=test
Expected: not trained to its end yet
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
            text=("{language}", "name: {id}", "title: {title}", "description: {description}"),
            catalog=CatalogConfig(
                reviews="", attributes="", category="", translations={"en": "", "de": "_de", "zh": "_zh"}
            ),
            tokenizer=TokenizerConfig(vocab_size=8192),
            stream=StreamConfig(
                source_length=64,
                target_length=32,
                batch_size=32,
                field_dropout={"id": 0.3, "title": 0.1, "description": 0.1},
            ),
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
