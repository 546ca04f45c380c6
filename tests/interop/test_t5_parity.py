"""Our search with all its settings against transformers', on small drawn T5 models: tokens and scores."""

import collections

from taggen_jax.decode.beam import DecodeConfig
from tests.interop import parity
from tools import zoo
from tools.beside import T

EOS = 1
SEARCHES = {  # `tools/fuzz_beam.py` draws many more
    "t5-v1.0": [
        DecodeConfig(beams=4, n_best=4, max_length=T),
        DecodeConfig(beams=4, n_best=4, max_length=T, length_penalty=2.0, early_stopping="never"),
    ],
    "t5-v1.1": [
        DecodeConfig(beams=4, n_best=4, max_length=T, length_penalty=0.6, early_stopping="true"),
        DecodeConfig(beams=4, n_best=1, max_length=T, length_penalty=0.0, min_length=4, forced_last=EOS),
    ],
    "t5-v1.0-untied": [
        DecodeConfig(
            beams=4, n_best=3, max_length=T, length_penalty=-0.5, early_stopping="never", min_length=3
        ),
        DecodeConfig(beams=4, n_best=4, max_length=T, no_repeat_ngram=2, forced_first=7),
    ],
    "t5-v1.1-tied": [
        DecodeConfig(
            beams=4, n_best=4, max_length=T, length_penalty=1.5, early_stopping="true", min_length=2
        ),
        DecodeConfig(beams=1, n_best=1, max_length=T, no_repeat_ngram=1),
    ],
}
SEEDS = 24  # 8 searches of 24 models: 192 cases, 768 products


def test_searches_agree(variant, tmp_path):
    lengths = collections.Counter()
    for number, decode in enumerate(SEARCHES[variant]):
        for seed in range(SEEDS):
            case = 100 * number + seed
            model = zoo.make(variant, case, 2 + 2 * seed / SEEDS)
            config, params = parity.load(model, tmp_path / str(case))
            ours = parity.searches_agree(model, config, params, case, decode)
            lengths.update(ours.lengths_BN.ravel().tolist())
    shortest = min(  # the end cannot come before a forced first token
        max(1, decode.min_length, 2 * (decode.forced_first >= 0)) for decode in SEARCHES[variant]
    )
    assert set(lengths) == set(range(shortest, T + 1)), "outputs must end at every length"
