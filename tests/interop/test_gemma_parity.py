"""Configurations of T5Gemma: what is not built in, and older writings."""

import json

import pytest

from taggen_jax.errors import UserError
from taggen_jax.interop import hf
from tools import zoo


def edited(folder, **changed):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    return folder


def test_what_is_not_built_in_is_refused_by_name(tmp_path):
    zoo.make("t5gemma", 5).save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    for field, value, message in (
        ("attention_bias", True, "attention_bias is True, expected False"),
        ("layer_types", ["chunked_attention"] * 3, "layer_types is .*expected 3 times 'sliding_attention'"),
        ("rope_parameters", {"rope_type": "yarn"}, "rope_type is 'yarn', expected 'default'"),
        ("head_dim", None, "decoder has no field 'head_dim'"),
        ("num_key_value_heads", 3, "n_heads=4 must be a multiple of n_kv_heads=3"),
    ):
        edited(tmp_path, decoder=values["decoder"] | {field: value})
        with pytest.raises(UserError, match=message):
            hf.read_config(tmp_path)


def test_a_config_of_transformers_4_is_read(tmp_path):
    """It has no rope_parameters, and several ends of which the first counts."""
    zoo.make("t5gemma", 5).save_pretrained(tmp_path)
    before, values = hf.read_config(tmp_path), json.loads((tmp_path / "config.json").read_text())
    for stack in ("encoder", "decoder"):
        del values[stack]["rope_parameters"]
        values[stack] |= {"rope_theta": 50.0, "eos_token_id": [1, 7]}
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert hf.read_config(tmp_path) == before
