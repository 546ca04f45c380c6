"""T5Gemma as Hugging Face writes it: the table of names, and `config.json`. Most of both serves T5Gemma 2."""

from collections.abc import Mapping
from typing import Any

from taggen_jax import config as configs
from taggen_jax.errors import UserError
from taggen_jax.interop.names import Name
from taggen_jax.models.gemma import StackConfig
from taggen_jax.models.t5gemma import T5GemmaConfig

MODEL_TYPES = ("t5gemma",)  # of a config.json

LOCAL, GLOBAL = "sliding_attention", "full_attention"  # their layer_types
# our field of a stack <-> theirs, where the value is the same
STACK_FIELDS = {
    "d_model": "hidden_size",
    "d_mlp": "intermediate_size",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "window": "sliding_window",
    "query_scalar": "query_pre_attn_scalar",
    "norm_epsilon": "rms_norm_eps",
}
TOKENS = {"pad": "pad_token_id", "eos": "eos_token_id", "start": "bos_token_id"}
RATES = {"dropout": "dropout_rate", "attention_dropout": "attention_dropout"}
# what we compute, whatever a config.json says: another value is refused
FIXED = {"hidden_activation": "gelu_pytorch_tanh", "attention_bias": False}

COPIES = {"lm_head.out_proj.weight": "model.decoder.embed_tokens.weight"}  # of a tied head
UNUSED: set[str] = set()


def names(config: T5GemmaConfig) -> tuple[Name, ...]:
    """The family's table: one row for each of our parameters."""
    head = () if config.tied_head else (Name("lm_head.out_proj.weight", "head"),)
    return (
        Name("model.encoder.embed_tokens.weight", "source_embedding"),
        *stack_names("encoder"),
        Name("model.decoder.embed_tokens.weight", "target_embedding"),
        *stack_names("decoder"),
        *residual_names("decoder", "cross_attn", "cross"),
        *attention_names("decoder", "cross_attn", "cross"),
        *head,
    )


def stack_names(stack: str) -> tuple[Name, ...]:
    """What every encoder and decoder of the Gemma kind holds, beside its embedding."""
    layer, blocks = f"model.{stack}.layers.{{}}", f"{stack}/blocks"
    return (
        *residual_names(stack, "self_attn", "attention"),
        *attention_names(stack, "self_attn", "attention"),
        *residual_names(stack, "feedforward", "mlp"),
        Name(f"{layer}.mlp.gate_proj.weight", f"{blocks}/mlp/part/gate", inputs=1),
        Name(f"{layer}.mlp.up_proj.weight", f"{blocks}/mlp/part/up", inputs=1),
        Name(f"{layer}.mlp.down_proj.weight", f"{blocks}/mlp/part/down", inputs=1),
        Name(f"model.{stack}.norm.weight", f"{stack}/norm"),
    )


def residual_names(stack: str, theirs: str, ours: str) -> tuple[Name, ...]:
    """The norms before and after a part."""
    layer = f"model.{stack}.layers.{{}}"
    return (
        Name(f"{layer}.pre_{theirs}_layernorm.weight", f"{stack}/blocks/{ours}/norm"),
        Name(f"{layer}.post_{theirs}_layernorm.weight", f"{stack}/blocks/{ours}/post_norm"),
    )


def attention_names(stack: str, theirs: str, ours: str) -> tuple[Name, ...]:
    """The projections of an attention."""
    attention, path = f"model.{stack}.layers.{{}}.{theirs}", f"{stack}/blocks/{ours}/part"
    return (
        Name(f"{attention}.q_proj.weight", f"{path}/query", inputs=1),
        Name(f"{attention}.k_proj.weight", f"{path}/key", inputs=1),
        Name(f"{attention}.v_proj.weight", f"{path}/value", inputs=1),
        Name(f"{attention}.o_proj.weight", f"{path}/out", inputs=2),
    )


def config_from_hf(values: Mapping[str, Any], where: str) -> T5GemmaConfig:
    """Our configuration from the content of a `config.json`; `where` names the file in errors."""
    stacks = {}
    for name in ("encoder", "decoder"):
        stack = section(values, where, name)
        kinds = stack.get("layer_types") or [
            GLOBAL if layer % 2 else LOCAL for layer in range(stack["num_hidden_layers"])
        ]
        rope = rope_theta(stack.get("rope_parameters") or stack, 10_000.0, f"{where}: {name}")
        ours = stack_from_hf(stack, kinds, f"{where}: {name}")
        cap = stack.get("attn_logit_softcapping") or 0.0
        stacks[name] = ours | {"rope_theta": rope, "local_rope_theta": rope, "attention_cap": cap}
    same_vocabulary(values["encoder"], values["decoder"], where)
    tied = values.get("tie_word_embeddings", True)
    return configs.from_dict(
        T5GemmaConfig, {**stacks, **common_from_hf(values, where), "tied_head": tied}, where
    )


def config_to_hf(config: T5GemmaConfig) -> dict[str, Any]:
    """The content of a `config.json` that transformers reads."""
    stacks = {}
    for name, stack in (("encoder", config.encoder), ("decoder", config.decoder)):
        stacks[name] = {
            "model_type": "t5_gemma_module",
            **stack_to_hf(stack, config),
            "attn_logit_softcapping": stack.attention_cap or None,
            "rope_parameters": {"rope_type": "default", "rope_theta": stack.rope_theta},
            "is_decoder": name == "decoder",
        }
    stacks["decoder"]["cross_attention_hidden_size"] = config.encoder.d_model
    return {
        "architectures": ["T5GemmaForConditionalGeneration"],
        "model_type": "t5gemma",
        **stacks,
        **common_to_hf(config),
        "tie_word_embeddings": config.tied_head,
    }


def section(values: Mapping[str, Any], where: str, *path: str) -> Mapping[str, Any]:
    """A mapping within the config.json, with all fields of a stack in it."""
    for key in path:
        values = values.get(key) or {}
    for field in (*STACK_FIELDS.values(), "num_hidden_layers", "vocab_size"):
        if values.get(field) is None:
            raise UserError(f"{where}: {'.'.join(path)} has no field '{field}', expected a whole config.json")
    for field, value in FIXED.items():
        if values.get(field, value) != value:
            raise UserError(
                f"{where}: {field} is {values[field]!r}, expected {value!r}; no other is built in"
            )
    return values


def stack_from_hf(values: Mapping[str, Any], kinds: list[str], where: str) -> dict[str, Any]:
    """The fields of our `StackConfig` that both families spell alike."""
    if set(kinds) - {LOCAL, GLOBAL} or len(kinds) != values["num_hidden_layers"]:
        count = values["num_hidden_layers"]
        raise UserError(f"{where}: layer_types is {kinds}, expected {count} times {LOCAL!r} or {GLOBAL!r}")
    ours = {field: values[theirs] for field, theirs in STACK_FIELDS.items()}
    return ours | {"local": [kind == LOCAL for kind in kinds]}


def stack_to_hf(stack: StackConfig, config: Any) -> dict[str, Any]:
    """The inverse of `stack_from_hf`, and what transformers wants each stack to know of the whole model."""
    return {
        **{theirs: getattr(stack, ours) for ours, theirs in STACK_FIELDS.items()},
        **{theirs: getattr(config, ours) for ours, theirs in TOKENS.items()},
        **FIXED,
        "num_hidden_layers": len(stack.local),
        "layer_types": [LOCAL if local else GLOBAL for local in stack.local],
        "vocab_size": config.vocab_size,
        "final_logit_softcapping": config.logit_cap or None,
    }


def common_from_hf(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The fields of the whole model that both families spell alike: they are the decoder's."""
    decoder = values["decoder"]
    tokens = {ours: decoder.get(theirs) for ours, theirs in TOKENS.items()}
    if isinstance(tokens["eos"], list):  # the first ends a text, the others a turn of a talk
        tokens["eos"] = tokens["eos"][0]
    return {
        **{ours: value for ours, value in tokens.items() if value is not None},
        **{ours: values[theirs] for ours, theirs in RATES.items() if values.get(theirs) is not None},
        "vocab_size": decoder["vocab_size"],
        "logit_cap": decoder.get("final_logit_softcapping") or 0.0,
    }


def common_to_hf(config: Any) -> dict[str, Any]:
    """The inverse of `common_from_hf`."""
    return {
        **{theirs: getattr(config, ours) for ours, theirs in (TOKENS | RATES).items()},
        "vocab_size": config.vocab_size,
        "is_encoder_decoder": True,
        "dtype": "float32",
    }


def rope_theta(values: Mapping[str, Any], default: float, where: str) -> float:
    """The base of rotary frequencies; only plain ones are built in."""
    if values.get("rope_type", "default") != "default":
        raise UserError(f"{where}: rope_type is {values['rope_type']!r}, expected 'default'")
    return float(values.get("rope_theta", default))


def same_vocabulary(encoder: Mapping[str, Any], decoder: Mapping[str, Any], where: str) -> None:
    """Source and target are written by one tokenizer."""
    sizes = encoder["vocab_size"], decoder["vocab_size"]
    if sizes[0] != sizes[1]:
        raise UserError(f"{where}: vocab_size is {sizes[0]} in the encoder and {sizes[1]} in the decoder")
