"""BART, mBART and Pegasus as Hugging Face writes them: the table of names, and `config.json`.

The three differ in a few tensors and in the defaults of their configurations; their `model_type` is our
`variant`.

mBART has no start token of its own there: in training `shift_tokens_right` moves the last token of the labels
to the front, which is EOS where targets end with it, as ours do (or a language's code, which the first mBART
puts after EOS). So a `config.json` without `decoder_start_token_id` means EOS to us.
"""

from collections.abc import Mapping
from typing import Any

from taggen_jax import config as configs
from taggen_jax.errors import UserError
from taggen_jax.interop.names import Name
from taggen_jax.models.bart import BartConfig

ARCHITECTURES = {
    "bart": "BartForConditionalGeneration",
    "mbart": "MBartForConditionalGeneration",
    "pegasus": "PegasusForConditionalGeneration",
}
MODEL_TYPES = tuple(ARCHITECTURES)

# our field <-> theirs, where the value is the same
FIELDS = {
    "variant": "model_type",
    "vocab_size": "vocab_size",
    "d_model": "d_model",
    "d_mlp": "encoder_ffn_dim",
    "n_heads": "encoder_attention_heads",
    "encoder_layers": "encoder_layers",
    "decoder_layers": "decoder_layers",
    "max_positions": "max_position_embeddings",
    "scale_embedding": "scale_embedding",
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
    "activation_dropout": "activation_dropout",
    "pad": "pad_token_id",
    "eos": "eos_token_id",
    "start": "decoder_start_token_id",
}
FORCED = {"forced_first": "forced_bos_token_id", "forced_last": "forced_eos_token_id"}  # absent: -1, none
DECODER = {"decoder_ffn_dim": "encoder_ffn_dim", "decoder_attention_heads": "encoder_attention_heads"}
ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_new", "relu": "relu", "silu": "silu", "swish": "silu"}

# what they mean when a field is absent or null; all else must be there
DEFAULTS = {
    "activation_function": "gelu",
    "scale_embedding": False,
    "dropout": 0.1,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
}
TOKENS = {
    "bart": {"pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2},
    "mbart": {"pad_token_id": 1, "eos_token_id": 2},
    "pegasus": {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0},
}

COPIES = {  # tensors that old folders hold several times: the copy's name -> the original's
    "model.encoder.embed_tokens.weight": "model.shared.weight",
    "model.decoder.embed_tokens.weight": "model.shared.weight",
    "lm_head.weight": "model.shared.weight",
}
UNUSED = {"model.encoder.version", "model.decoder.version"}  # marks of fairseq's that no version reads


def names(config: BartConfig) -> tuple[Name, ...]:
    """The family's table: one row for each of our parameters."""
    return (
        Name("model.shared.weight", "embedding"),
        Name("final_logits_bias", "logits_bias", inputs=1, optional=True),  # one row there: [1, V]
        *_stack("model.encoder", "encoder", config),
        *_attention("model.encoder.layers.{}.self_attn", "encoder/blocks/attention"),
        *_mlp("model.encoder.layers.{}", "encoder/blocks"),
        *_stack("model.decoder", "decoder", config),
        *_attention("model.decoder.layers.{}.self_attn", "decoder/blocks/attention"),
        *_attention("model.decoder.layers.{}.encoder_attn", "decoder/blocks/cross"),
        *_mlp("model.decoder.layers.{}", "decoder/blocks"),
    )


def plain(name: str) -> str:
    """A tensor's name as the whole model has it, of one that the model without a head may have saved."""
    return f"model.{name}" if name.startswith(("shared.", "encoder.", "decoder.")) else name


def _stack(hf: str, path: str, config: BartConfig) -> tuple[Name, ...]:
    return (
        Name(f"{hf}.embed_positions.weight", f"{path}/position"),
        *(_norm(f"{hf}.layernorm_embedding", f"{path}/embedding_norm") if config.embedding_norm else ()),
        *(_norm(f"{hf}.layer_norm", f"{path}/norm") if config.pre_norm else ()),
    )


def _norm(hf: str, path: str) -> tuple[Name, ...]:
    return Name(f"{hf}.weight", f"{path}/scale"), Name(f"{hf}.bias", f"{path}/bias")


def _attention(hf: str, path: str) -> tuple[Name, ...]:
    projections = {"q_proj": "query", "k_proj": "key", "v_proj": "value"}
    return (
        *(Name(f"{hf}.{theirs}.weight", f"{path}/{ours}", inputs=1) for theirs, ours in projections.items()),
        *(
            Name(f"{hf}.{theirs}.bias", f"{path}/{ours}_bias", flat=True)
            for theirs, ours in projections.items()
        ),
        Name(f"{hf}.out_proj.weight", f"{path}/out", inputs=2),
        Name(f"{hf}.out_proj.bias", f"{path}/out_bias"),
        *_norm(f"{hf}_layer_norm", f"{path}_norm"),
    )


def _mlp(hf: str, path: str) -> tuple[Name, ...]:
    return (
        Name(f"{hf}.fc1.weight", f"{path}/mlp/up", inputs=1),
        Name(f"{hf}.fc1.bias", f"{path}/mlp/up_bias"),
        Name(f"{hf}.fc2.weight", f"{path}/mlp/down", inputs=1),
        Name(f"{hf}.fc2.bias", f"{path}/mlp/down_bias"),
        *_norm(f"{hf}.final_layer_norm", f"{path}/mlp_norm"),
    )


def config_from_hf(values: Mapping[str, Any], where: str) -> BartConfig:
    """Our configuration from the content of a `config.json`; `where` names the file in errors.

    Layer drop, a regulariser of their training, is passed over.
    """
    given = {key: value for key, value in values.items() if value is not None}
    theirs = {**DEFAULTS, **TOKENS[values["model_type"]], **given}
    theirs.setdefault("decoder_start_token_id", theirs["eos_token_id"])
    for field in FIELDS.values():
        if field not in theirs:
            raise UserError(f"{where}: field '{field}' is missing; a BART config.json must have it")
    for decoder, encoder in DECODER.items():
        if theirs.get(decoder, theirs[encoder]) != theirs[encoder]:
            raise UserError(
                f"{where}: {decoder}={theirs[decoder]!r} differs from {encoder}={theirs[encoder]!r}; "
                "encoder and decoder must be equally wide"
            )
    if theirs["activation_function"] not in ACTIVATIONS:
        raise UserError(
            f"{where}: activation_function is {theirs['activation_function']!r}, expected one of "
            f"{', '.join(ACTIVATIONS)}; no other is built in"
        )
    if not theirs.get("tie_word_embeddings", True):
        raise UserError(f"{where}: tie_word_embeddings is false; a head of its own is not built in")
    ours = {field: theirs[their_field] for field, their_field in FIELDS.items()}
    forced = {field: given.get(their_field, -1) for field, their_field in FORCED.items()}
    activation = ACTIVATIONS[theirs["activation_function"]]
    return configs.from_dict(BartConfig, {**ours, **forced, "activation": activation}, where)


def config_to_hf(config: BartConfig) -> dict[str, Any]:
    """The content of a `config.json` that transformers 4 and 5 and CTranslate2 read alike."""
    theirs = {their_field: getattr(config, field) for field, their_field in FIELDS.items()}
    forced = {their_field: getattr(config, field) for field, their_field in FORCED.items()}
    return {
        "architectures": [ARCHITECTURES[config.variant]],
        **theirs,
        **{decoder: theirs[encoder] for decoder, encoder in DECODER.items()},
        **{field: None if token < 0 else token for field, token in forced.items()},
        "activation_function": config.activation,
        "is_encoder_decoder": True,
        "num_hidden_layers": config.encoder_layers,
        "tie_word_embeddings": True,
        "dtype": "float32",
    }
