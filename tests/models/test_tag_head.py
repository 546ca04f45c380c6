"""Laws of the tag head: padding changes nothing, and every family can have one."""

import jax
import numpy as np
import pytest
from flax import traverse_util

from taggen_jax.models import family
from taggen_jax.models.bert import BertConfig, StackConfig
from taggen_jax.models.layers import ComputeConfig
from taggen_jax.models.t5 import T5Config
from taggen_jax.training.tag_rows import tag_rows

SIDE = StackConfig(vocab_size=40, d_model=16, d_mlp=16, n_heads=2, layers=1, positions=16, dropout=0.0)
CONFIGS = {
    "t5": T5Config(vocab_size=40, d_model=16, d_mlp=16, n_heads=2, encoder_layers=1, decoder_layers=1),
    "bert": BertConfig(encoder=SIDE, decoder=SIDE, eos=1, start=2),
}
TAGS = 5
RNG = np.random.default_rng(0)


@pytest.fixture(params=CONFIGS)
def built(request):
    bundle = family.build(CONFIGS[request.param], ComputeConfig(), TAGS)
    return bundle, bundle.init(jax.random.key(0))


def logits(bundle, params, source_BS):
    return bundle.bind(params).tag_logits(bundle.bind(params).encoded({"source": source_BS}))


def test_padding_changes_no_score(built):
    source_BS = RNG.integers(3, 40, (2, 6)).astype(np.int32)
    padded_BS = np.pad(source_BS, ((0, 0), (0, 4)))
    one, other = logits(*built, source_BS), logits(*built, padded_BS)
    assert one.shape == (2, TAGS) and one.dtype == np.float32
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_head_is_all_that_is_added(built):
    bundle, params = built
    plain = family.build(bundle.config, ComputeConfig())
    paths = [set(traverse_util.flatten_dict(shapes, sep="/")) for shapes in (params, plain.shapes)]
    assert paths[0] - paths[1] == {"tag_head/kernel", "tag_head/bias"} and paths[1] <= paths[0]


def test_rows_that_begin_as_names_score_no_other_name_higher(built):
    """Apart from what all names have in common."""
    bundle, params = built
    names_NS = np.pad(RNG.integers(3, 40, (TAGS, 4)).astype(np.int32), ((0, 0), (0, 2)))
    params["tag_head"]["kernel"] = tag_rows(bundle, params, names_NS)
    logits_NN = np.asarray(logits(bundle, params, names_NS))
    own_NN = logits_NN - logits_NN.mean(axis=0, keepdims=True)
    assert own_NN.argmax(axis=1).tolist() == list(range(TAGS))
