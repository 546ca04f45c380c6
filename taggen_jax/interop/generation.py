"""generation_config.json of Hugging Face and our `DecodeConfig`, both ways."""

import pathlib
from collections.abc import Mapping
from typing import Any

from taggen_jax import config as configs
from taggen_jax.decode.beam import DecodeConfig
from taggen_jax.files import read_json

FILE = "generation_config.json"
IDS = (  # what the model means by its words; they stand in config.json, too, or only here
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
    "decoder_start_token_id",
    "forced_bos_token_id",
    "forced_eos_token_id",
)
RENAMED = {  # theirs -> ours
    "length_penalty": "length_penalty",
    "min_length": "min_length",
    "no_repeat_ngram_size": "no_repeat_ngram",
    "num_beam_groups": "groups",  # of transformers 4; 5 keeps it in the file for its custom_generate
    "diversity_penalty": "diversity",
}
SEARCH = ("num_beams", *RENAMED, "early_stopping", "min_new_tokens", "max_length", "max_new_tokens")
# Without a meaning for a beam search that returns all its beams, or for any search.
MEANINGLESS = ("_from_model_config", "transformers_version", "use_cache", "num_return_sequences")
SAMPLING = ("temperature", "top_k", "top_p", "typical_p", "epsilon_cutoff", "eta_cutoff")
STOPPING = {True: "true", False: "false", "never": "never"}


def read(folder: pathlib.Path) -> tuple[DecodeConfig, dict[str, Any]]:
    """The folder's search settings, ours where it has none; and the settings that our search does not know.

    Raises:
      UserError: a value that no search can have.
    """
    values = _values(folder)
    fields: dict[str, Any] = {}
    if "num_beams" in values:
        fields["beams"] = fields["n_best"] = values["num_beams"]
    if "early_stopping" in values:
        fields["early_stopping"] = STOPPING.get(values["early_stopping"], values["early_stopping"])
    fields |= {ours: values[theirs] for theirs, ours in RENAMED.items() if theirs in values}
    if "min_new_tokens" in values:
        fields["min_length"] = values["min_new_tokens"] + 1  # theirs does not count the end
    if "max_new_tokens" in values:
        fields["max_length"] = values["max_new_tokens"]
    elif "max_length" in values:
        fields["max_length"] = values["max_length"] - 1  # theirs counts the start
    known = {*IDS, *SEARCH, *MEANINGLESS}
    known |= set() if values.get("do_sample") else {"do_sample", *SAMPLING}
    unknown = {key: value for key, value in values.items() if value and key not in known}
    return configs.from_dict(DecodeConfig, fields, str(folder / FILE)), unknown


def token_ids(folder: pathlib.Path) -> dict[str, Any]:
    """The ids of words with a duty, as far as the file names them; {} without the file."""
    return {key: value for key, value in _values(folder).items() if key in IDS}


def to_hf(decode: DecodeConfig, config: Mapping[str, Any]) -> dict[str, Any]:
    """The content of generation_config.json; `config` is that of config.json, whose ids it repeats.

    Transformers asks this file alone once it exists.
    """
    renamed = {theirs: getattr(decode, ours) for theirs, ours in RENAMED.items()}
    if decode.groups == 1:  # what transformers 5 has no name for is written only where it counts
        del renamed["num_beam_groups"], renamed["diversity_penalty"]
    stopping = {ours: theirs for theirs, ours in STOPPING.items()}
    return {
        **{key: config[key] for key in IDS if config.get(key) is not None},
        "num_beams": decode.beams,
        **renamed,
        "early_stopping": stopping[decode.early_stopping],
        "max_new_tokens": decode.max_length,
    }


def _values(folder: pathlib.Path) -> dict[str, Any]:
    path = folder / FILE
    if not path.exists():
        return {}
    values = read_json(path, "the generation settings")
    given = values.items() if isinstance(values, dict) else ()
    return {key: value for key, value in given if value is not None}
