"""A bare BERT or RoBERTa as Hugging Face writes it: the pretrained encoder of a BERT to sequence.

The pooler of such a folder is left out: nothing here reads it.
"""

from collections.abc import Mapping
from typing import Any

from taggen_jax.interop import bert
from taggen_jax.interop.names import Name
from taggen_jax.models.bert import StackConfig

MODEL_TYPES = tuple(bert.KINDS)  # of a config.json
COPIES: dict[str, str] = {}
UNUSED = {"pooler.dense.weight", "pooler.dense.bias", "embeddings.position_ids"}


def names(config: StackConfig) -> tuple[Name, ...]:
    """The table: one row for each of our parameters."""
    del config  # a bare encoder has the same parts whatever its sizes
    return bert.encoder_names("", "")


config_from_hf = bert.stack_from_hf


def config_to_hf(config: StackConfig) -> Mapping[str, Any]:
    """The content of a `config.json`."""
    return {**bert.stack_to_hf(config), "dtype": "float32"}
