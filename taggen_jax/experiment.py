"""The whole configuration of an experiment: one field a room, each room's own dataclass.

A file in `configs/` returns `config_dict(Experiment(...))`, so that every field has its default, can be
overridden on the command line, and is checked on the way back in.
"""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, Literal

import ml_collections

from taggen_jax import config as configs
from taggen_jax.catalog.clean import CleanConfig
from taggen_jax.catalog.readers import CatalogConfig
from taggen_jax.catalog.splits import SplitConfig
from taggen_jax.catalog.tags import TagsConfig
from taggen_jax.data.preflight import PreflightConfig
from taggen_jax.data.stream import StreamConfig
from taggen_jax.data.tokenizer import TokenizerConfig
from taggen_jax.decode.beam import DecodeConfig
from taggen_jax.decode.inclusion import SelectConfig
from taggen_jax.decode.sample import SampleConfig
from taggen_jax.errors import UserError
from taggen_jax.files import read_json, write_json
from taggen_jax.models import family
from taggen_jax.models.layers import ComputeConfig
from taggen_jax.models.t5 import T5Config
from taggen_jax.parallel.mesh import MeshConfig
from taggen_jax.runs.checkpoints import CheckpointConfig
from taggen_jax.runs.logs import LogConfig
from taggen_jax.training.step import TrainConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenerateConfig:
    """How products are tagged: how many in one batch, the search, and the choice among its candidates.

    A "closed" vocabulary lets the search write distinct tags that some training product has, and nothing
    else; an "open" one, whatever the model likes. The mode "beam" searches lists of tags; "exact" ranks all
    tags of a closed vocabulary by the probability that a list begins with them, which sums to 1; "head" ranks
    them by the probability that the product has them, which the head beside the decoder gives
    (`train.tag_loss`); "sample" draws lists at random, by `sample` and the lengths of `decode`, and a tag's
    score is its share of them.
    `report_mass` adds to each line the share of the model's probability that the best list was chosen from,
    for one more pass over it and the whole head. Sources are padded to the next multiple of `bucket` tokens
    and searched with others of that length, by one program a length; 0 pads all to the longest. `subsets` is
    a file of the sets of tags that products may have, by the value of a field (see `taggen_jax.subsets`);
    `forbidden` tags are never given, nor those of a policy class that is `withheld`. With `ancestors` a tag
    implies its broader ones. Both need a governed vocabulary, see `taggen_jax.governed`.
    """

    batch_size: int = 64
    bucket: int = 32
    vocabulary: Literal["closed", "open"] = "closed"
    mode: Literal["beam", "exact", "head", "sample"] = "beam"
    report_mass: bool = False
    subsets: str = ""
    forbidden: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    ancestors: bool = False
    decode: DecodeConfig = dataclasses.field(default_factory=DecodeConfig)
    sample: SampleConfig = dataclasses.field(default_factory=SampleConfig)
    select: SelectConfig = dataclasses.field(default_factory=SelectConfig)

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size={self.batch_size} must be at least 1")
        if self.bucket < 0:
            raise ValueError(f"bucket={self.bucket} must be at least 0")
        if self.mode in ("exact", "head") and self.vocabulary == "open":
            raise ValueError(f"mode={self.mode!r} needs vocabulary='closed': an open one has no end")
        if self.vocabulary == "open" and (self.subsets or self.forbidden):
            raise ValueError("subsets and forbidden are for vocabulary='closed': an open one knows no tags")
        if self.report_mass and (self.mode, self.vocabulary) != ("beam", "closed"):
            raise ValueError("report_mass is for mode='beam' and vocabulary='closed': else all mass is legal")
        if self.mode == "sample" and self.vocabulary == "closed" and not self.sample.top_k:
            raise ValueError(
                "sample.top_k=0 is for vocabulary='open'; draw from the best legal ones, e.g. 32"
            )
        if self.mode == "sample" and self.decode.no_repeat_ngram:
            raise ValueError("decode.no_repeat_ngram is for mode='beam'")
        if self.vocabulary == "closed" and self.decode.no_repeat_ngram:
            raise ValueError("decode.no_repeat_ngram is for vocabulary='open': a closed one repeats no tag")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """Every setting. `text` names the fields of a product that the model reads, in order, plainly ("title")
    or in a marker ("title: {title}"), see `catalog.product.source_pieces`.
    """

    text: tuple[str, ...] = ("title", "category", "attributes", "description", "reviews")
    catalog: CatalogConfig = dataclasses.field(default_factory=CatalogConfig)
    clean: CleanConfig = dataclasses.field(default_factory=CleanConfig)
    tags: TagsConfig = dataclasses.field(default_factory=TagsConfig)
    split: SplitConfig = dataclasses.field(default_factory=SplitConfig)
    tokenizer: TokenizerConfig = dataclasses.field(default_factory=TokenizerConfig)
    preflight: PreflightConfig = dataclasses.field(default_factory=PreflightConfig)
    stream: StreamConfig = dataclasses.field(default_factory=StreamConfig)
    model: family.ModelConfig = dataclasses.field(default_factory=T5Config)
    compute: ComputeConfig = dataclasses.field(default_factory=ComputeConfig)
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    checkpoints: CheckpointConfig = dataclasses.field(default_factory=CheckpointConfig)
    log: LogConfig = dataclasses.field(default_factory=LogConfig)
    generate: GenerateConfig = dataclasses.field(default_factory=GenerateConfig)

    def __post_init__(self) -> None:
        if self.generate.mode == "head" and not self.train.tag_loss:
            raise ValueError(
                "generate.mode='head' needs a model that was trained with train.tag_loss above 0"
            )


def config_dict(experiment: Experiment) -> ml_collections.ConfigDict:
    """The experiment as a `ConfigDict` whose every field can be set from the command line."""
    return ml_collections.ConfigDict(_tuples(configs.to_dict(experiment)))


def parse(values: Mapping[str, Any], where: str = "config") -> Experiment:
    """The inverse of `config_dict`, for any nested mapping.

    Raises:
      UserError: an unknown field, or a value that does not fit.
    """
    if isinstance(values, ml_collections.ConfigDict):
        values = values.to_dict()
    if not isinstance(values, Mapping):
        raise UserError(f"{where}: got {type(values).__name__}, expected a mapping of settings")
    values = dict(values)
    if "model" in values:
        values["model"] = family.parse(values["model"], f"{where}.model")
    return configs.from_dict(Experiment, values, where)


def save(experiment: Experiment, path: str | os.PathLike[str]) -> None:
    write_json(path, configs.to_dict(experiment))


def load(path: str | os.PathLike[str]) -> Experiment:
    return parse(read_json(path, "the experiment's config"), str(path))


def differences(before: Any, after: Any) -> list[str]:
    """One line per field in which two experiments (or two parts of one) differ: "train.seed: 0 -> 1"."""
    old, new = _flat(configs.to_dict(before)), _flat(configs.to_dict(after))
    names = sorted(old.keys() | new.keys())
    return [
        f"{name}: {old.get(name)!r} -> {new.get(name)!r}" for name in names if old.get(name) != new.get(name)
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        nested = _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
        flat.update(nested)
    return flat


def _tuples(value: Any) -> Any:
    """ConfigDict overrides tuples from the command line, but not lists."""
    if isinstance(value, Mapping):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
