"""Random small models of every family and variant, made by transformers itself: nothing is downloaded.

A maker takes a seed and an EOS scale and returns a model in evaluation mode, every weight drawn anew, large
enough that attention and biases matter. Adding a variant is one entry in VARIANTS.
"""

import warnings
from collections.abc import Callable
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch's and transformers' own, at import
    import torch
    import transformers
    from transformers.utils import logging

SIZES = {"vocab_size": 53, "d_model": 16, "d_kv": 6, "d_ff": 24, "num_heads": 3}  # all different, none square
Maker = Callable[[int, float], Any]


def redraw(model: Any, seed: int) -> None:
    """Draws all weights: embeddings with spread 1, vectors of norms around 1, the rest with spread 0.25."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            spread = 1.0 if "shared" in name else 0.25
            weight.copy_(1 + 0.2 * noise if weight.ndim == 1 else spread * noise)


def sharpen(head: Any, eos: int, scale: float) -> None:
    """Lengthens the head's row of EOS: its logit then swings more than the others' from step to step.

    So EOS competes everywhere, and outputs end at every length.
    """
    with torch.no_grad():
        head.weight[eos] *= scale


def t5(projection: str, tied: bool, kind: str = "T5", **sizes: Any) -> Maker:
    """A maker of T5 or one of its relatives (`kind` is the prefix of its classes)."""

    def make(seed: int, eos_scale: float = 1.0) -> Any:
        config = getattr(transformers, f"{kind}Config")(
            **(SIZES | {"num_layers": 3, "num_decoder_layers": 2} | sizes),
            relative_attention_num_buckets=8, relative_attention_max_distance=12,
            feed_forward_proj=projection, tie_word_embeddings=tied, decoder_start_token_id=0,
        )  # fmt: skip
        model = getattr(transformers, f"{kind}ForConditionalGeneration")(config).eval()
        if not tied:  # transformers 5 ties at birth whatever the config says
            model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.lm_head.weight))
        redraw(model, seed)
        sharpen(model.lm_head, config.eos_token_id, eos_scale)
        return model

    return make


VARIANTS: dict[str, Maker] = {
    "t5-v1.0": t5("relu", tied=True),
    "t5-v1.0-untied": t5("relu", tied=False),
    "t5-v1.1": t5("gated-gelu", tied=False),
    "t5-v1.1-tied": t5("gated-gelu", tied=True),
    "flan-t5": t5("gated-gelu", tied=False, d_model=32, num_layers=2),
    "byt5": t5("gated-gelu", tied=False, vocab_size=384, num_layers=6, num_decoder_layers=2),
}


def quiet() -> None:
    """No progress bars, no complaint about heads untied on purpose, no threads for tiny matrices."""
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    logging.set_verbosity_error()
