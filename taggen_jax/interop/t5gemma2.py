"""T5Gemma 2 as Hugging Face writes it, without its eyes.

Import takes the text model, and passes over the tensors of the vision tower and its projector (UNUSED).
Export writes the text model; transformers' class cannot be without a vision tower, so config.json describes a
tiny one, which transformers fills with random numbers and which no text ever reaches.
"""

from collections.abc import Mapping
from typing import Any

from taggen_jax import config as configs
from taggen_jax.errors import UserError
from taggen_jax.interop import t5gemma
from taggen_jax.interop.names import Name
from taggen_jax.interop.t5gemma import GLOBAL, LOCAL
from taggen_jax.models.t5gemma2 import T5Gemma2Config

MODEL_TYPES = ("t5gemma2",)  # of a config.json

COPIES = {
    "lm_head.out_proj.weight": "model.encoder.embed_tokens.weight",
    "model.decoder.embed_tokens.weight": "model.encoder.embed_tokens.weight",
    "model.decoder.embed_tokens.eoi_embedding": "model.encoder.embed_tokens.eoi_embedding",
}
UNUSED = {"model.encoder.vision_tower.", "model.encoder.multi_modal_projector."}
THETA = {GLOBAL: 1_000_000.0, LOCAL: 10_000.0}  # what they mean where rope_parameters are absent

NO_EYES = {
    "model_type": "siglip_vision_model",
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "image_size": 2,
    "patch_size": 1,
}


def names(config: T5Gemma2Config) -> tuple[Name, ...]:
    """The family's table: one row for each of our parameters."""
    return (
        Name("model.encoder.embed_tokens.weight", "embedding"),
        Name("model.encoder.embed_tokens.eoi_embedding", "end_of_image"),
        *(row for stack in ("encoder", "decoder") for row in t5gemma.stack_names(stack)),
        *(row for stack in ("encoder", "decoder") for row in _norms(stack)),
    )


def _norms(stack: str) -> tuple[Name, ...]:
    attention, path = f"model.{stack}.layers.{{}}.self_attn", f"{stack}/blocks/attention/part"
    return (
        Name(f"{attention}.q_norm.weight", f"{path}/query_norm"),
        Name(f"{attention}.k_norm.weight", f"{path}/key_norm"),
    )


def config_from_hf(values: Mapping[str, Any], where: str) -> T5Gemma2Config:
    """Our configuration from the content of a `config.json`; `where` names the file in errors."""
    encoder = t5gemma.section(values, where, "encoder", "text_config")
    decoder = t5gemma.section(values, where, "decoder")
    t5gemma.same_vocabulary(encoder, decoder, where)
    if not values.get("tie_word_embeddings", True):
        raise UserError(f"{where}: tie_word_embeddings is False, expected True; no other is built in")
    ours = {
        "encoder": _stack(encoder, f"{where}: encoder.text_config"),
        "decoder": _stack(decoder, f"{where}: decoder"),
        "end_of_image": values["encoder"].get("eoi_token_index", T5Gemma2Config.end_of_image),
        **t5gemma.common_from_hf(values, where),
    }
    return configs.from_dict(T5Gemma2Config, ours, where)


def _stack(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    if values.get("attn_logit_softcapping"):
        raise UserError(
            f"{where}: attn_logit_softcapping is set, expected null; transformers ignores it, too"
        )
    period = values.get("sliding_window_pattern", 6)
    kinds = values.get("layer_types") or [
        LOCAL if (layer + 1) % period else GLOBAL for layer in range(values["num_hidden_layers"])
    ]
    ropes = values.get("rope_parameters") or {}
    far, near = (dict(ropes.get(kind) or {}) for kind in (GLOBAL, LOCAL))
    factor = 1.0
    if far.get("rope_type") == "linear":
        factor = float(far["factor"])
        far["rope_type"] = "default"
    return t5gemma.stack_from_hf(values, kinds, where) | {
        "rope_theta": t5gemma.rope_theta(far, THETA[GLOBAL], where),
        "local_rope_theta": t5gemma.rope_theta(near, THETA[LOCAL], where),
        "rope_factor": factor,
    }


def config_to_hf(config: T5Gemma2Config) -> dict[str, Any]:
    """The content of a `config.json` that transformers reads."""
    text, decoder = (
        t5gemma.stack_to_hf(stack, config) | {"rope_parameters": _ropes(stack)}
        for stack in (config.encoder, config.decoder)
    )
    return {
        "architectures": ["T5Gemma2ForConditionalGeneration"],
        "model_type": "t5gemma2",
        "encoder": {
            "model_type": "t5gemma2_encoder",
            "text_config": {"model_type": "t5gemma2_text", **text},
            "vision_config": NO_EYES,
            "mm_tokens_per_image": 4,
            "eoi_token_index": config.end_of_image,
        },
        "decoder": {"model_type": "t5gemma2_decoder", **decoder},
        **t5gemma.common_to_hf(config),
        "eoi_token_index": config.end_of_image,
        "tie_word_embeddings": True,
    }


def _ropes(stack: Any) -> dict[str, Any]:
    far: dict[str, Any] = {"rope_type": "default", "rope_theta": stack.rope_theta}
    if stack.rope_factor != 1.0:
        far |= {"rope_type": "linear", "factor": stack.rope_factor}
    return {GLOBAL: far, LOCAL: {"rope_type": "default", "rope_theta": stack.local_rope_theta}}
