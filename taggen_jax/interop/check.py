"""Is what was exported the same model? Ours and the library that will use it answer one probe batch.

Both compute in float32 from the weights as exported, so that rounding to bfloat16 does not count as a
difference. Each model is in memory whole, one after the other.
"""

import contextlib
import importlib.util
import pathlib
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from taggen_jax.errors import UserError
from taggen_jax.files import read_json
from taggen_jax.interop import hf
from taggen_jax.models import family
from taggen_jax.models.layers import ComputeConfig

BOUND = 1e-4  # the largest difference allowed, as a share of the largest logit (or log-probability)
LENGTHS, TARGET = (11, 3, 7, 1), 9  # tokens of the probe's products and of each target


class Probe(NamedTuple):
    """A padded batch of random products and targets, each closed by the end of sequence; int32."""

    source_BS: np.ndarray
    target_BT: np.ndarray


def probe(config: Any, words: int) -> Probe:
    """The same batch every time, of the ids below `words` that have no duty."""
    rng = np.random.default_rng(0)
    source = family.source_config(config)
    free = np.setdiff1d(
        np.arange(min(words, source.vocab_size)), [config.pad, config.eos, config.start, source.pad]
    )
    target_BT = rng.choice(free, (len(LENGTHS), TARGET))
    source_BS = rng.choice(free, (len(LENGTHS), max(LENGTHS)))
    place_S, length_B1 = np.arange(max(LENGTHS))[None], np.array(LENGTHS)[:, None]
    source_BS = np.where(place_S < length_B1 - 1, source_BS, source.pad)
    source_BS = np.where(place_S == length_B1 - 1, config.eos, source_BS)
    target_BT[:, -1] = config.eos
    return Probe(source_BS.astype(np.int32), target_BT.astype(np.int32))


def sources(config: Any, length: int) -> np.ndarray:
    """The probe's products as rows of `length` ids, int32; what does not fit is cut off."""
    source_BS = probe(config, config.vocab_size).source_BS[:, :length]
    room = ((0, 0), (0, length - source_BS.shape[1]))
    return np.pad(source_BS, room, constant_values=family.source_config(config).pad)


def require(*packages: str) -> None:
    """Raises a UserError when a package that the check needs is not installed."""
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise UserError(
            f"export: {' and '.join(missing)} must be installed, to check the export; "
            "run pip install 'taggen-jax[export]', or leave it unchecked with --check=false"
        )


def our_logits(config: family.ModelConfig, leaves: family.Params, probe: Probe) -> np.ndarray:
    """logits_BTV of parameters on disk."""
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf[...].astype(np.float32, copy=False)), leaves)
    batch = {"source": probe.source_BS, "target": probe.target_BT}
    logits = jax.jit(lambda params: family.build(config, ComputeConfig()).bind(params).logits(batch))
    return np.asarray(logits(params))


def transformers_logits(folder: pathlib.Path, config: Any, probe: Probe) -> np.ndarray:
    """logits_BTV of a Hugging Face folder, by the class that its config.json names.

    Raises:
      UserError: transformers would invent a weight, because it misses one.
    """
    with quiet():
        import torch
        import transformers

        written = read_json(folder / "config.json", "the exported config")
        (name,) = written["architectures"]
        model, report = getattr(transformers, name).from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, output_loading_info=True
        )
        unused = tuple(hf.FAMILIES[config.family].UNUSED)
        missing = sorted(name for name in report["missing_keys"] if not name.startswith(unused))
        if missing:
            raise UserError(f"{folder}: transformers misses {missing[:3]}; not exported")
        # transformers 5 takes every umT5 for tied, and then scales its outputs: interop/t5.py
        model.config.tie_word_embeddings = written.get("tie_word_embeddings", True)
        source_BS, target_BT = (torch.tensor(x).long() for x in probe)
        start_B1 = torch.full((len(target_BT), 1), config.start)
        with torch.no_grad():
            return (
                model.eval()(
                    input_ids=source_BS,
                    attention_mask=(source_BS != family.source_config(config).pad).long(),
                    decoder_input_ids=torch.cat([start_B1, target_BT[:, :-1]], dim=1),
                )
                .logits.float()
                .numpy()
            )


def agree(ours: np.ndarray, theirs: np.ndarray, what: str) -> str:
    """One line that says how well two results agree.

    Raises:
      UserError: they differ by more than `BOUND`.
    """
    bound = BOUND * max(1.0, float(np.abs(ours).max()))
    difference = float(np.abs(ours - theirs).max()) if ours.shape == theirs.shape else np.inf
    if not difference <= bound:  # NaN does not
        raise UserError(
            f"export: {what} differ from ours by {difference:.1e}, more than {bound:.1e}: not exported; "
            "this is a fault of taggen-jax or of that library: please report it with config.json"
        )
    return f"{what} differ from ours by at most {difference:.1e} (bound {bound:.1e})"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No progress bars, and none of the libraries' own warnings, at import or later."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers.utils import logging

        verbosity = logging.get_verbosity()
        logging.disable_progress_bar()
        logging.set_verbosity_error()
        try:
            yield
        finally:
            logging.set_verbosity(verbosity)
