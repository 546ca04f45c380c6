"""CTranslate2: its own converter makes its model of a Hugging Face folder, and it scores a probe."""

import pathlib
from typing import Any

import jax
import numpy as np

from taggen_jax.errors import UserError
from taggen_jax.interop.check import Probe, quiet


def convert(folder: pathlib.Path, output: pathlib.Path) -> None:
    """Writes a CTranslate2 model into `output`.

    Raises:
      UserError: CTranslate2 does not know the folder's family.
    """
    with quiet():
        from ctranslate2.converters import TransformersConverter

        class Converter(TransformersConverter):
            def load_model(self, model_class: Any, path: str, **arguments: Any) -> Any:
                """Transformers 5 says tied of every T5; CTranslate2 takes that for "scale the output"."""
                model = super().load_model(model_class, path, **arguments)
                scales = getattr(model.config, "scale_decoder_outputs", model.config.tie_word_embeddings)
                model.config.tie_word_embeddings = scales
                return model

        try:
            Converter(str(folder)).convert(str(output), force=True)
        except ValueError as error:
            raise UserError(f"export: CTranslate2 does not convert this model: {error}") from error


def target_logprobs(model: pathlib.Path, tokens: list[str], probe: Probe, config: Any) -> np.ndarray:
    """logprobs_BT of the probe's targets; `tokens` are the texts of the ids."""
    import ctranslate2

    translator = ctranslate2.Translator(str(model), device="cpu", compute_type="float32")
    source = [[tokens[i] for i in row if i != config.pad] for row in probe.source_BS]
    target = [[tokens[i] for i in row[:-1]] for row in probe.target_BT]  # it closes them itself
    return np.array([result.log_probs for result in translator.score_batch(source, target)], np.float32)


def of_targets(logits_BTV: np.ndarray, probe: Probe) -> np.ndarray:
    """logprobs_BT of the probe's targets under given logits."""
    logprobs_BTV = jax.nn.log_softmax(logits_BTV)
    return np.take_along_axis(np.asarray(logprobs_BTV), probe.target_BT[:, :, None], axis=2)[:, :, 0]
