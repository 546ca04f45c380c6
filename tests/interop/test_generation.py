"""Search settings of Hugging Face and ours mean the same, both ways."""

import json

import pytest
from transformers import GenerationConfig

from taggen_jax.decode.beam import DecodeConfig
from taggen_jax.errors import UserError
from taggen_jax.interop import generation, hf


def folder(tmp_path, **values):
    (tmp_path / generation.FILE).write_text(json.dumps(values))
    return tmp_path


@pytest.mark.parametrize(
    ("stopping", "rare"),
    [("true", {}), ("false", {"no_repeat_ngram": 3}), ("never", {"groups": 3, "diversity": 0.5})],
)
def test_there_and_back_is_the_identity(tmp_path, stopping, rare):
    ours = DecodeConfig(
        beams=6, n_best=6, length_penalty=0.5, min_length=2, max_length=17, early_stopping=stopping, **rare
    )
    ids = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None, "vocab_size": 9}
    theirs = GenerationConfig(**generation.to_hf(ours, ids)).to_diff_dict()  # what transformers keeps
    assert generation.read(folder(tmp_path, **theirs)) == (ours, {})
    assert generation.token_ids(tmp_path) == {"pad_token_id": 0, "eos_token_id": 1}


def test_lengths_that_count_the_start_or_not_the_end(tmp_path):
    decode, _ = generation.read(folder(tmp_path, max_length=20, min_new_tokens=3))
    assert (decode.max_length, decode.min_length) == (19, 4)
    assert generation.read(folder(tmp_path, max_length=20, max_new_tokens=7))[0].max_length == 7


def test_what_our_search_does_not_know_is_named(tmp_path):
    values = {"num_beams": 2, "repetition_penalty": 1.2, "top_k": 50, "use_cache": True, "do_sample": False}
    assert generation.read(folder(tmp_path, **values))[1] == {"repetition_penalty": 1.2}
    assert generation.read(folder(tmp_path, do_sample=True, top_k=50))[1] == {"do_sample": True, "top_k": 50}


def test_without_the_file_our_defaults_hold(tmp_path):
    assert generation.read(tmp_path) == (DecodeConfig(), {})


def test_a_value_that_no_search_can_have_is_refused(tmp_path):
    with pytest.raises(UserError, match=generation.FILE):
        generation.read(folder(tmp_path, num_beams=0))


@pytest.mark.parametrize("variant", ["t5-v1.0"])
def test_ids_that_only_this_file_names_are_the_models(hf_folder):
    path = hf_folder / "config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"decoder_start_token_id": None}))
    folder(hf_folder, decoder_start_token_id=7)
    assert hf.read_config(hf_folder).start == 7
