"""T5, mT5 and umT5 as Hugging Face writes them: the table of names, and `config.json`.

Flan-T5 and ByT5 are "t5" there. v1.0 scales the decoder's output by d_model ** -0.5 before the tied head,
v1.1 and mT5 do not scale and have a head of their own. Transformers 5 writes `tie_word_embeddings: true` for
all and tells them apart by `scale_decoder_outputs`; transformers 4 knows only `tie_word_embeddings`.

umT5 was trained like v1.1, and its published folders say `tie_word_embeddings: false`. Transformers 5 reads
true and scales; after loading one there, say `model.config.tie_word_embeddings = False`.
"""

from collections.abc import Mapping
from typing import Any

from taggen_jax import config as configs
from taggen_jax.errors import UserError
from taggen_jax.interop.names import Name
from taggen_jax.models.t5 import T5Config

ARCHITECTURES = {
    "t5": "T5ForConditionalGeneration",
    "mt5": "MT5ForConditionalGeneration",
    "umt5": "UMT5ForConditionalGeneration",
}
MODEL_TYPES = tuple(ARCHITECTURES)

# feed_forward_proj <-> (activation, gated). Our gelu is the tanh approximation, as theirs when gated.
PROJECTIONS = {
    "relu": ("relu", False),
    "gelu_new": ("gelu", False),
    "silu": ("silu", False),
    "gated-relu": ("relu", True),
    "gated-gelu": ("gelu", True),
    "gated-silu": ("silu", True),
}

# our field <-> theirs, where the value is the same
FIELDS = {
    "vocab_size": "vocab_size",
    "d_model": "d_model",
    "d_mlp": "d_ff",
    "n_heads": "num_heads",
    "head_dim": "d_kv",
    "encoder_layers": "num_layers",
    "decoder_layers": "num_decoder_layers",
    "position_buckets": "relative_attention_num_buckets",
    "position_max_distance": "relative_attention_max_distance",
    "norm_epsilon": "layer_norm_epsilon",
    "dropout": "dropout_rate",
    "pad": "pad_token_id",
    "eos": "eos_token_id",
    "start": "decoder_start_token_id",
}
# what they mean when a field is absent or null
DEFAULTS = {
    "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
    "layer_norm_epsilon": 1e-6,
    "dropout_rate": 0.1,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "decoder_start_token_id": 0,
}

COPIES = {  # tensors that old folders hold twice: the copy's name -> the original's
    "encoder.embed_tokens.weight": "shared.weight",
    "decoder.embed_tokens.weight": "shared.weight",
    "lm_head.weight": "shared.weight",
}
UNUSED = {  # a leftover of the first releases that no version of the model reads
    "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
}


def names(config: T5Config) -> tuple[Name, ...]:
    """The family's table: one row for each of our parameters."""
    head = () if config.tied_head else (Name("lm_head.weight", "head", inputs=1),)
    layer, owner = ("{}", "/blocks") if config.position_every_layer else ("0", "")
    position = f"block.{layer}.layer.0.SelfAttention.relative_attention_bias.weight"
    return (
        Name("shared.weight", "embedding"),
        *_attention("encoder.block.{}.layer.0.SelfAttention", "encoder/blocks/attention"),
        Name("encoder.block.{}.layer.0.layer_norm.weight", "encoder/blocks/attention_norm"),
        *_mlp("encoder.block.{}.layer.1.DenseReluDense", "encoder/blocks/mlp", config.gated),
        Name("encoder.block.{}.layer.1.layer_norm.weight", "encoder/blocks/mlp_norm"),
        Name(f"encoder.{position}", f"encoder{owner}/position"),
        Name("encoder.final_layer_norm.weight", "encoder/norm"),
        *_attention("decoder.block.{}.layer.0.SelfAttention", "decoder/blocks/attention"),
        Name("decoder.block.{}.layer.0.layer_norm.weight", "decoder/blocks/attention_norm"),
        *_attention("decoder.block.{}.layer.1.EncDecAttention", "decoder/blocks/cross"),
        Name("decoder.block.{}.layer.1.layer_norm.weight", "decoder/blocks/cross_norm"),
        *_mlp("decoder.block.{}.layer.2.DenseReluDense", "decoder/blocks/mlp", config.gated),
        Name("decoder.block.{}.layer.2.layer_norm.weight", "decoder/blocks/mlp_norm"),
        Name(f"decoder.{position}", f"decoder{owner}/position"),
        Name("decoder.final_layer_norm.weight", "decoder/norm"),
        *head,
    )


def _attention(hf: str, path: str) -> tuple[Name, ...]:
    return (
        Name(f"{hf}.q.weight", f"{path}/query", inputs=1),
        Name(f"{hf}.k.weight", f"{path}/key", inputs=1),
        Name(f"{hf}.v.weight", f"{path}/value", inputs=1),
        Name(f"{hf}.o.weight", f"{path}/out", inputs=2),
    )


def _mlp(hf: str, path: str, gated: bool) -> tuple[Name, ...]:
    down = Name(f"{hf}.wo.weight", f"{path}/down", inputs=1)
    if not gated:
        return Name(f"{hf}.wi.weight", f"{path}/up", inputs=1), down
    return (
        Name(f"{hf}.wi_0.weight", f"{path}/up", inputs=1),
        Name(f"{hf}.wi_1.weight", f"{path}/linear", inputs=1),
        down,
    )


def config_from_hf(values: Mapping[str, Any], where: str) -> T5Config:
    """Our configuration from the content of a `config.json`; `where` names the file in errors."""
    given = {key: value for key, value in values.items() if value is not None}
    theirs = {"num_decoder_layers": given.get("num_layers"), **DEFAULTS, **given}
    for field in FIELDS.values():
        if theirs.get(field) is None:
            raise UserError(f"{where}: field '{field}' is missing; a T5 config.json must have it")
    variant = theirs["model_type"]
    projection = theirs.get("feed_forward_proj", "relu" if variant == "t5" else "gated-gelu")
    if projection not in PROJECTIONS:
        known = ", ".join(PROJECTIONS)
        raise UserError(
            f"{where}: feed_forward_proj is {projection!r}, expected one of {known}; no other is built in"
        )
    activation, gated = PROJECTIONS[projection]
    tied = theirs.get("scale_decoder_outputs", theirs.get("tie_word_embeddings", True)) and variant != "mt5"
    ours = {field: theirs[their_field] for field, their_field in FIELDS.items()}
    ours |= {"variant": variant, "activation": activation, "gated": gated, "tied_head": tied}
    return configs.from_dict(T5Config, ours, where)


def config_to_hf(config: T5Config) -> dict[str, Any]:
    """The content of a `config.json` that transformers 4 and 5 and CTranslate2 read alike."""
    projections = {ours: theirs for theirs, ours in PROJECTIONS.items()}
    return {
        "architectures": [ARCHITECTURES[config.variant]],
        "model_type": config.variant,
        **{their_field: getattr(config, field) for field, their_field in FIELDS.items()},
        "feed_forward_proj": projections[config.activation, config.gated],
        "is_encoder_decoder": True,
        "tie_word_embeddings": config.tied_head,
        "scale_decoder_outputs": config.tied_head,
        "dtype": "float32",
    }
