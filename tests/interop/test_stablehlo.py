"""An exported generator writes the same ids in a process that knows nothing of this package."""

import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from taggen_jax.decode.beam import DecodeConfig, beam_search
from taggen_jax.errors import UserError
from taggen_jax.interop import stablehlo
from taggen_jax.models import family
from taggen_jax.models.layers import ComputeConfig
from taggen_jax.models.t5 import T5Config

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools" / "run_stablehlo.py"
CONFIG = T5Config(
    vocab_size=300, d_model=16, d_mlp=32, n_heads=2, head_dim=8, encoder_layers=2, decoder_layers=2
)
SEARCH = DecodeConfig(beams=3, n_best=2, max_length=7)
S = 12


@pytest.fixture(scope="module")
def generator():
    """(function, arguments): a random model, and a bonus for every token as an argument of its own."""
    bundle = family.build(CONFIG, ComputeConfig())
    params = bundle.init(jax.random.key(0))
    bonus_V = np.random.default_rng(0).normal(size=CONFIG.vocab_size).astype(np.float32)

    @jax.jit
    def generate(params, source_BS, bonus_V):
        model, batch = bundle.bind(params), source_BS.shape[0]
        segments_BS = (source_BS != CONFIG.pad).astype(jnp.int32)
        memory_BSD = model.encode(source_BS, segments_BS)
        cache, cross = model.start(memory_BSD, segments_BS, beams=SEARCH.beams, length=SEARCH.max_length)

        def step(token_BW, cache, t, ancestry_BWT):
            hidden_BWD, cache = model.step(token_BW, cache, cross, t, ancestry_BWT)
            return model.unembed(hidden_BWD) + bonus_V[None, None], cache

        ids = {"bos": CONFIG.start, "eos": CONFIG.eos, "pad": CONFIG.pad}
        return beam_search(step, cache, batch=batch, config=SEARCH, **ids)

    return generate, (params, bonus_V)


def test_a_fresh_process_writes_the_same_ids(generator, tmp_path):
    generate, arguments = generator
    stablehlo.save(tmp_path / "export", generate, arguments, S, {"pad": CONFIG.pad})
    chance = np.random.default_rng(1)
    sources = [
        [*chance.integers(2, CONFIG.vocab_size, size=chance.integers(1, S)).tolist(), 1] for _ in range(5)
    ]
    for batch in (sources, sources[:2]):  # one program for every batch
        source_BS = np.array([ids + [CONFIG.pad] * (S - len(ids)) for ids in batch], np.int32)
        expected = generate(arguments[0], source_BS, *arguments[1:])
        done = subprocess.run(
            [sys.executable, "-I", TOOL, tmp_path / "export"],
            input=json.dumps(batch),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        tokens = np.array([line["tokens_BNT"] for line in lines], np.int32)
        np.testing.assert_array_equal(tokens, expected.tokens_BNT, strict=True)


def test_nothing_is_overwritten(generator, tmp_path):
    (tmp_path / "mine").touch()
    with pytest.raises(UserError, match="not empty; export to a new folder"):
        stablehlo.save(tmp_path, *generator, S, {})
