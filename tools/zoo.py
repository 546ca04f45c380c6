"""Random small models of every family and variant, made by transformers itself: nothing is downloaded.

A maker takes a seed and an EOS scale and returns a model in evaluation mode, every weight drawn anew: large
enough that attention and biases matter, small enough that logits stay of the size that trained models have.
Adding a variant is one entry in VARIANTS.
"""

import warnings
from collections.abc import Callable
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch's and transformers' own, at import
    import torch
    import transformers
    from transformers.utils import logging

Maker = Callable[..., Any]
V = 53
EOS_SCALE = 3.0  # with it, outputs of the search end at every length


def redraw(model: Any, seed: int, embedding: float, norm: float = 1.0) -> None:
    """Draws all weights: biases around 0, scales of norms around `norm`, matrices with spread 0.25.

    Args:
      model: it is changed in place.
      seed: of the draw.
      embedding: the spread of embeddings. Where it is small, outputs repeat one word.
      norm: 1; 0 where the model adds the 1 by itself.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if weight.ndim == 1:
                weight.copy_(0.2 * noise + (0.0 if name.endswith("bias") else norm))
            else:
                weight.copy_(noise * (embedding if "shared" in name or "embed" in name else 0.25))


def sharpen(model: Any, eos: int, scale: float) -> Any:
    """Lengthens the head's row of EOS: its logit then swings more than the others' from step to step.

    So EOS competes everywhere, and outputs end at every length.
    """
    with torch.no_grad():
        model.get_output_embeddings().weight[eos] *= scale
    return model


T5_SIZES = {"vocab_size": V, "d_model": 16, "d_kv": 6, "d_ff": 24, "num_heads": 3}  # different, none square


def t5(projection: str, tied: bool, kind: str = "T5", head: float = 1.0, **sizes: Any) -> Maker:
    """A maker of T5 or one of its relatives.

    `kind` is the prefix of its classes; `head` scales the head, where logits would be too large.
    """

    def make(seed: int, eos_scale: float = 1.0) -> Any:
        config = getattr(transformers, f"{kind}Config")(
            **(T5_SIZES | {"num_layers": 3, "num_decoder_layers": 2} | sizes),
            relative_attention_num_buckets=8, relative_attention_max_distance=12,
            feed_forward_proj=projection, tie_word_embeddings=tied, decoder_start_token_id=0,
        )  # fmt: skip
        model = getattr(transformers, f"{kind}ForConditionalGeneration")(config).eval()
        if not tied:  # transformers 5 ties at birth whatever the config says, and then takes umT5 for scaled
            model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.lm_head.weight))
            model.config.tie_word_embeddings = kind != "UMT5"
        redraw(model, seed, embedding=1.0)
        with torch.no_grad():
            model.lm_head.weight.mul_(head)
        return sharpen(model, config.eos_token_id, eos_scale)

    return make


BART_SIZES = {
    "vocab_size": V, "d_model": 12, "encoder_ffn_dim": 20, "decoder_ffn_dim": 20, "encoder_layers": 3,
    "decoder_layers": 2, "encoder_attention_heads": 3, "decoder_attention_heads": 3,
    "max_position_embeddings": 17,
}  # fmt: skip


def bart(kind: str, embedding: float, **more: Any) -> Maker:
    """A maker of BART, mBART or Pegasus (`kind` is the prefix of their classes), which forces no token.

    `**changed` of the maker goes to its config.
    """

    def make(seed: int, eos_scale: float = 1.0, **changed: Any) -> Any:
        values = {**BART_SIZES, **more, **changed}
        config = getattr(transformers, f"{kind}Config")(**values, forced_eos_token_id=None)
        model = getattr(transformers, f"{kind}ForConditionalGeneration")(config).eval()
        redraw(model, seed, embedding)
        generator = torch.Generator().manual_seed(seed)
        model.final_logits_bias.copy_(0.5 * torch.randn(V, generator=generator))  # a buffer
        return sharpen(model, config.eos_token_id, eos_scale)

    return make


BERT_SIZES = {
    "vocab_size": V, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
    "intermediate_size": 40, "max_position_embeddings": 20, "pad_token_id": 1,
}  # fmt: skip
NARROW = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "vocab_size": 31}


def bert(encoder: str, decoder: str, activation: str = "gelu", **narrow: Any) -> Maker:
    """A maker of BERT to sequence, of prefixes of classes; `narrow` are sizes of the decoder alone."""

    def make(seed: int, eos_scale: float = 1.0) -> Any:
        sides = {
            "encoder": getattr(transformers, f"{encoder}Config")(**BERT_SIZES, hidden_act=activation),
            "decoder": getattr(transformers, f"{decoder}Config")(
                **(BERT_SIZES | narrow), is_decoder=True, add_cross_attention=True
            ),
        }
        ids = {"pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 0}
        model = transformers.EncoderDecoderModel(transformers.EncoderDecoderConfig(**sides, **ids)).eval()
        redraw(model, seed, embedding=0.25)
        with torch.no_grad():  # none writes padding, to which RoBERTa gives a position of its own
            model.get_output_embeddings().bias[ids["pad_token_id"]] = -6.0
        return sharpen(model, ids["eos_token_id"], eos_scale)

    return make


GEMMA_SIZES = {
    "vocab_size": V, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6, "query_pre_attn_scalar": 5,
}  # fmt: skip
SMALLER = {"hidden_size": 12, "intermediate_size": 20, "num_key_value_heads": 1, "num_hidden_layers": 2}
CAPS = {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 5.0}
ROPE = {"rope_type": "default", "rope_theta": 50.0}
ROPES = {
    "full_attention": {"rope_type": "default", "rope_theta": 100.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 10.0},
}
KINDS = ["sliding_attention", "full_attention", "sliding_attention"]
EYES = {
    "model_type": "siglip_vision_model", "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
    "num_attention_heads": 2, "image_size": 8, "patch_size": 4,
}  # fmt: skip


def t5gemma(encoder: dict[str, Any], decoder: dict[str, Any], tied: bool = True) -> Maker:
    """A maker of T5Gemma; windows are smaller than the sequences, and a side's own settings come last."""
    common = {**GEMMA_SIZES, **CAPS, "sliding_window": 3, "rope_parameters": ROPE}

    def make(seed: int, eos_scale: float = 1.0) -> Any:
        config = transformers.T5GemmaConfig(
            encoder=common | encoder, decoder=common | decoder, vocab_size=V, tie_word_embeddings=tied
        )
        model = transformers.T5GemmaForConditionalGeneration(config).eval()
        redraw(model, seed, embedding=0.25, norm=0.0)
        return sharpen(model, 1, eos_scale)

    return make


def t5gemma2(window: int, far: dict[str, Any], **more: Any) -> Maker:
    """A maker of T5Gemma 2: `window` of the encoder, `far` of the rotation in layers without a window."""
    ropes = ROPES | {"full_attention": ROPES["full_attention"] | far}
    common = {**GEMMA_SIZES, "layer_types": KINDS, "rope_parameters": ropes, **more}

    def make(seed: int, eos_scale: float = 1.0) -> Any:
        config = transformers.T5Gemma2Config(
            encoder={
                "text_config": common | {"sliding_window": window}, "vision_config": EYES,
                "mm_tokens_per_image": 4, "eoi_token_index": 50, "boi_token_index": 49,
            },
            decoder=common | {"sliding_window": 3},
            image_token_index=51,
        )  # fmt: skip
        model = transformers.T5Gemma2ForConditionalGeneration(config).eval()
        redraw(model, seed, embedding=0.25, norm=0.0)
        return sharpen(model, 1, eos_scale)

    return make


VARIANTS: dict[str, Maker] = {
    "t5-v1.0": t5("relu", tied=True),
    "t5-v1.0-untied": t5("relu", tied=False),
    "t5-v1.1": t5("gated-gelu", tied=False),
    "t5-v1.1-tied": t5("gated-gelu", tied=True),
    "flan-t5": t5("gated-gelu", tied=False, head=0.4, d_model=32, num_layers=2),
    "mt5": t5("gated-gelu", tied=False, kind="MT5"),
    "umt5": t5("gated-gelu", tied=False, kind="UMT5", head=0.6),
    "umt5-tied": t5("gated-gelu", tied=True, kind="UMT5", head=0.7),
    "byt5": t5("gated-gelu", tied=False, head=0.5, vocab_size=384, num_layers=6, num_decoder_layers=2),
    "bart": bart("Bart", embedding=0.35, activation_function="gelu"),
    "mbart": bart(
        "MBart",
        embedding=0.28,
        activation_function="gelu_new",
        scale_embedding=True,
        decoder_start_token_id=7,
    ),
    "pegasus": bart("Pegasus", embedding=0.3, activation_function="relu", scale_embedding=True),
    "bert2bert": bert("Bert", "Bert"),
    "roberta2roberta": bert("Roberta", "Roberta"),
    "bert2bert-narrow": bert("Bert", "Bert", "gelu_new", **NARROW),
    "t5gemma": t5gemma({}, {}),
    "t5gemma-unequal": t5gemma({"sliding_window": 2}, SMALLER),
    "t5gemma-untied": t5gemma(
        {"attn_logit_softcapping": None}, {"final_logit_softcapping": None}, tied=False
    ),
    "t5gemma2": t5gemma2(4, {}),
    "t5gemma2-capped": t5gemma2(5, {"rope_type": "linear", "factor": 8.0}, final_logit_softcapping=5.0),
}


def make(variant: str, seed: int, eos_scale: float = 1.0) -> Any:
    """A random model of a variant."""
    return VARIANTS[variant](seed, eos_scale)


def quiet() -> None:
    """No progress bars, no complaint about heads untied on purpose, no threads for tiny matrices."""
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    logging.set_verbosity_error()
