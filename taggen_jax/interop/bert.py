"""BERT to sequence as Hugging Face writes it: `EncoderDecoderModel`, with BERT or RoBERTa on either side.

Its config.json nests one config a side. The decoder's head is tied to its embedding, and has a bias.
"""

from collections.abc import Mapping
from typing import Any

from taggen_jax import config as configs
from taggen_jax.errors import UserError
from taggen_jax.interop.names import Name
from taggen_jax.models.bert import BertConfig, StackConfig

MODEL_TYPES = ("encoder-decoder",)  # of a config.json
SIDES = ("encoder", "decoder")
# of a side -> the name of its causal model's body, and the classes of encoder and decoder
KINDS = {
    "bert": ("bert", "BertModel", "BertLMHeadModel"),
    "roberta": ("roberta", "RobertaModel", "RobertaForCausalLM"),
    "xlm-roberta": ("roberta", "XLMRobertaModel", "XLMRobertaForCausalLM"),
}

# our field <-> theirs, where the value is the same
FIELDS = {
    "kind": "model_type",
    "vocab_size": "vocab_size",
    "d_model": "hidden_size",
    "d_mlp": "intermediate_size",
    "n_heads": "num_attention_heads",
    "layers": "num_hidden_layers",
    "positions": "max_position_embeddings",
    "token_types": "type_vocab_size",
    "activation": "hidden_act",
    "norm_epsilon": "layer_norm_eps",
    "dropout": "hidden_dropout_prob",
    "pad": "pad_token_id",
}
# what they mean when a field is absent or null
DEFAULTS = {
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "hidden_dropout_prob": 0.1,
}

_BODIES = sorted({body for body, _, _ in KINDS.values()})
COPIES = {  # tensors that old folders hold twice: the copy's name -> the original's
    "decoder.cls.predictions.decoder.weight": "decoder.bert.embeddings.word_embeddings.weight",
    "decoder.cls.predictions.decoder.bias": "decoder.cls.predictions.bias",
    "decoder.lm_head.decoder.weight": "decoder.roberta.embeddings.word_embeddings.weight",
    "decoder.lm_head.decoder.bias": "decoder.lm_head.bias",
}
UNUSED = {  # 0, 1, 2, .. in folders of transformers before 4.31
    "encoder.embeddings.position_ids",
    *(f"decoder.{body}.embeddings.position_ids" for body in _BODIES),
}


def names(config: BertConfig) -> tuple[Name, ...]:
    """The family's table: one row for each of our parameters."""
    body = f"decoder.{KINDS[config.decoder.kind][0]}"
    joined = config.encoder.d_model == config.decoder.d_model
    return (
        *encoder_names("encoder.", "encoder/"),
        *(dense("encoder.pooler.dense", "pooler") if config.pooler else ()),
        *(() if joined else dense("enc_to_dec_proj", "projection")),
        *_embedding(f"{body}.embeddings", "decoder/embedding"),
        *_block(f"{body}.encoder.layer.{{}}", "decoder/blocks"),
        *_attention(f"{body}.encoder.layer.{{}}.crossattention", "decoder/blocks/cross"),
        *_head(config.decoder.kind),
    )


def encoder_names(hf: str, path: str) -> tuple[Name, ...]:
    """The table of an encoder without its pooler; `hf` and `path` are what stands before every name."""
    return (
        *_embedding(f"{hf}embeddings", f"{path}embedding"),
        *_block(f"{hf}encoder.layer.{{}}", f"{path}blocks"),
    )


def dense(hf: str, path: str, inputs: int = 1) -> tuple[Name, ...]:
    return (
        Name(f"{hf}.weight", f"{path}/kernel", inputs=inputs),
        Name(f"{hf}.bias", f"{path}/bias", flat=True),
    )


def _embedding(hf: str, path: str) -> tuple[Name, ...]:
    return (
        Name(f"{hf}.word_embeddings.weight", f"{path}/word"),
        Name(f"{hf}.position_embeddings.weight", f"{path}/position"),
        Name(f"{hf}.token_type_embeddings.weight", f"{path}/token_type"),
        *_norm(f"{hf}.LayerNorm", f"{path}/norm"),
    )


def _block(hf: str, path: str) -> tuple[Name, ...]:
    return (
        *_attention(f"{hf}.attention", f"{path}/attention"),
        *dense(f"{hf}.intermediate.dense", f"{path}/mlp/up"),
        *dense(f"{hf}.output.dense", f"{path}/mlp/down"),
        *_norm(f"{hf}.output.LayerNorm", f"{path}/mlp/norm"),
    )


def _attention(hf: str, path: str) -> tuple[Name, ...]:
    return (
        *dense(f"{hf}.self.query", f"{path}/query"),
        *dense(f"{hf}.self.key", f"{path}/key"),
        *dense(f"{hf}.self.value", f"{path}/value"),
        *dense(f"{hf}.output.dense", f"{path}/out", inputs=2),
        *_norm(f"{hf}.output.LayerNorm", f"{path}/norm"),
    )


def _norm(hf: str, path: str) -> tuple[Name, ...]:
    return Name(f"{hf}.weight", f"{path}/scale"), Name(f"{hf}.bias", f"{path}/bias")


def _head(kind: str) -> tuple[Name, ...]:
    if kind == "bert":
        head, transform, norm = "cls.predictions", "cls.predictions.transform.dense", "transform.LayerNorm"
    else:
        head, transform, norm = "lm_head", "lm_head.dense", "layer_norm"
    return (
        *dense(f"decoder.{transform}", "decoder/transform"),
        *_norm(f"decoder.{head}.{norm}", "decoder/transform_norm"),
        Name(f"decoder.{head}.bias", "decoder/bias"),
    )


def config_from_hf(values: Mapping[str, Any], where: str) -> BertConfig:
    """Our configuration from the content of a `config.json`; `where` names the file in errors."""
    encoder, decoder = (stack_from_hf(_side(values, side, where), f"{where}: {side}") for side in SIDES)
    body = _side(values, "decoder", where)
    given = {**body, **{key: value for key, value in values.items() if value is not None}}
    for field in ("eos_token_id", "decoder_start_token_id"):
        if not isinstance(given.get(field), int):
            raise UserError(
                f"{where}: {field} is {given.get(field)!r}, expected an id; write it into the file"
            )
    if given.get("pad_token_id", decoder.pad) != decoder.pad:
        raise UserError(
            f"{where}: pad_token_id is {given['pad_token_id']}, expected the decoder's, {decoder.pad}"
        )
    if not (given.get("tie_word_embeddings", True) and body.get("tie_word_embeddings", True)):
        raise UserError(f"{where}: tie_word_embeddings is false, expected true; no untied head is built in")
    ids = {"eos": given["eos_token_id"], "start": given["decoder_start_token_id"]}
    return configs.from_dict(
        BertConfig, {"encoder": encoder, "decoder": decoder, "pooler": True, **ids}, where
    )


def _side(values: Mapping[str, Any], side: str, where: str) -> Mapping[str, Any]:
    given = values.get(side)
    if not isinstance(given, Mapping):
        raise UserError(f"{where}: no config of the {side} in it; an encoder-decoder has one a side")
    return given


def stack_from_hf(values: Mapping[str, Any], where: str) -> StackConfig:
    """The configuration of one side."""
    given = {key: value for key, value in values.items() if value is not None}
    kind = given.get("model_type")
    if kind not in KINDS:
        raise UserError(f"{where}: model_type is {kind!r}, expected one of {', '.join(KINDS)}")
    if given.get("position_embedding_type", "absolute") != "absolute":
        raise UserError(
            f"{where}: position_embedding_type is {given['position_embedding_type']!r}, expected 'absolute'"
        )
    theirs = {**DEFAULTS, "pad_token_id": 0 if kind == "bert" else 1, **given}
    for field in FIELDS.values():
        if field not in theirs:
            raise UserError(f"{where}: field '{field}' is missing; a BERT config.json must have it")
    return configs.from_dict(StackConfig, {ours: theirs[field] for ours, field in FIELDS.items()}, where)


def config_to_hf(config: BertConfig) -> dict[str, Any]:
    """The content of a `config.json` that transformers 4 and 5 read alike."""
    decoder = {"is_decoder": True, "add_cross_attention": True, "eos_token_id": config.eos}
    return {
        "architectures": ["EncoderDecoderModel"],
        "model_type": "encoder-decoder",
        "is_encoder_decoder": True,
        "encoder": stack_to_hf(config.encoder),
        "decoder": {
            **stack_to_hf(config.decoder),
            **decoder,
            "architectures": [KINDS[config.decoder.kind][2]],
        },
        "pad_token_id": config.pad,
        "eos_token_id": config.eos,
        "decoder_start_token_id": config.start,
        "tie_word_embeddings": True,
        "dtype": "float32",
    }


def stack_to_hf(config: StackConfig) -> dict[str, Any]:
    """The content of one side's config."""
    return {
        "architectures": [KINDS[config.kind][1]],
        **{theirs: getattr(config, ours) for ours, theirs in FIELDS.items()},
        "attention_probs_dropout_prob": config.dropout,
        "tie_word_embeddings": True,
    }
