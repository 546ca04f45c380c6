"""What would make training worthless, found before it starts: each check counts, and knows what to do.

Nothing is fixed here and nothing is hidden: the report holds every count, failed or not.
"""

import array
import collections
import dataclasses
import hashlib
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from taggen_jax.catalog.vocabulary import Vocabulary
from taggen_jax.data.store import Row, Split
from taggen_jax.data.targets import Targets
from taggen_jax.data.tokenizer import Tokenizer
from taggen_jax.errors import UserError

_EXAMPLES = 3  # culprits that a check names
_CHUNK = 256  # rows read at once
_ADVICE = {
    "separator_clashes": "set tags.separator to a token that no tag spells",
    "lost_tags": "train a tokenizer (tokenizer.path=''), or respell these tags by tags.synonyms",
    "long_tags": "raise stream.target_length, or preflight.max_long_tag_share",
    "unknown_text": "train a tokenizer (tokenizer.path=''), or raise preflight.max_unknown_share",
    "truncated_sources": "raise stream.source_length, or preflight.max_truncated_source_share",
    "truncated_targets": "raise stream.target_length, or preflight.max_truncated_target_share",
    "untagged_rows": "check catalog.tags and catalog.tag_separator, or raise preflight.max_untagged_share",
    "empty_rows": "check the text fields and the cleaning, or raise preflight.max_empty_share",
    "duplicate_ids": "give every row an id of its own",
    "duplicate_rows": "remove the repeats, or raise preflight.max_duplicate_share",
    "leaked_ids": "remove these rows from one of the splits, or raise preflight.max_leaked_share",
    "leaked_groups": "keep a group in one split, or raise preflight.max_leaked_share",
    "leaked_texts": "keep equal texts in one split, or raise preflight.max_leaked_share",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreflightConfig:
    """The largest shares that pass, each from 0 (none may) to 1 (a check that only counts).

    Attributes:
      max_unknown_share: of a split's source ids: text that the tokenizer cannot spell.
      max_truncated_source_share: of a split's rows: the end of the text is lost.
      max_truncated_target_share: of a split's rows: a tag is lost, as the target is too short for all.
      max_untagged_share: of a split's rows: there is no tag to learn.
      max_empty_share: of a split's rows: there is no text to learn from.
      max_duplicate_share: of a split's rows: the text of an earlier row again.
      max_leaked_share: of a split's rows: the id, the group or the text of a row in another split.
      max_long_tag_share: of the vocabulary: a tag that alone is longer than a target may be.
    """

    max_unknown_share: float = 0.01
    max_truncated_source_share: float = 0.9
    max_truncated_target_share: float = 0.2
    max_untagged_share: float = 0.5
    max_empty_share: float = 0.001
    max_duplicate_share: float = 0.05
    max_leaked_share: float = 0.0
    max_long_tag_share: float = 0.01

    def __post_init__(self) -> None:
        """Raises ValueError for what is no share."""
        for name, value in vars(self).items():
            if not 0 <= value <= 1:
                raise ValueError(f"{name}={value} must be in [0, 1]")


@dataclasses.dataclass(frozen=True)
class Check:
    """One count against its limit: `count` of `of` have the defect `name`; `examples` are ids or tags."""

    name: str
    where: str
    count: int
    of: int
    limit: float
    examples: tuple[str, ...]

    @property
    def failed(self) -> bool:
        """Whether there are more than the limit allows."""
        return self.count > self.limit * self.of

    @property
    def message(self) -> str:
        """One line: what, where, how much, and what to do."""
        named = ", ".join(map(repr, self.examples))
        return (
            f"{self.name} in {self.where}: {self.count} of {self.of} (e.g. {named}), "
            f"at most {self.limit:.2%} may be; {_ADVICE[self.name]}"
        )


@dataclasses.dataclass(frozen=True)
class Report:
    """All checks, in order."""

    checks: tuple[Check, ...]

    @property
    def failures(self) -> tuple[Check, ...]:
        """Those that failed."""
        return tuple(check for check in self.checks if check.failed)

    def to_json(self) -> dict[str, Any]:
        """What preflight.json holds; `share` is a fraction."""
        checks = [
            dataclasses.asdict(check) | {"share": check.count / max(check.of, 1), "passed": not check.failed}
            for check in self.checks
        ]
        return {"version": 1, "passed": not self.failures, "checks": checks}


def check(
    splits: Mapping[str, Split],
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    target_length: int,
    config: PreflightConfig,
) -> dict[str, Any]:
    """`examine`, as what preflight.json holds.

    Raises:
      UserError: a check failed; the one line names each that did, its culprits, and what to do.
    """
    report = examine(splits, tokenizer, vocabulary, target_length, config)
    if report.failures:
        lines = "; ".join(f"({i}) {check.message}" for i, check in enumerate(report.failures, 1))
        raise UserError(f"preflight: {len(report.failures)} of {len(report.checks)} checks failed: {lines}")
    return report.to_json()


def examine(
    splits: Mapping[str, Split],
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    target_length: int,
    config: PreflightConfig,
) -> Report:
    """Reads every row of every split once; keeps 24 bytes a row in memory.

    Args:
      splits: in the order of their right to a row: a leak is counted in the later of two splits.
      target_length: the most ids that a target has, the end included.
    """
    targets = Targets.of(vocabulary, tokenizer)
    scans = {name: _scan(split, tokenizer, targets, target_length) for name, split in splits.items()}
    per_split = (_split_checks(name, scan, config) for name, scan in scans.items())
    return Report(
        (
            *_tag_checks(vocabulary, tokenizer, targets, target_length, config),
            *itertools.chain.from_iterable(per_split),
            *_leak_checks(scans, config),
        )
    )


def _tag_checks(
    vocabulary: Vocabulary, tokenizer: Tokenizer, targets: Targets, length: int, config: PreflightConfig
) -> Iterator[Check]:
    ids = dict(zip(vocabulary.tags, targets.tags, strict=True))
    clashing = [tag for tag in ids if targets.separator in ids[tag]]
    lost = [tag for tag in ids if targets.separator not in ids[tag] and not tokenizer.tags.survives(tag)]
    long = [tag for tag in ids if len(ids[tag]) >= length]
    for name, tags, limit in (
        ("separator_clashes", clashing, 0.0),
        ("lost_tags", lost, 0.0),
        ("long_tags", long, config.max_long_tag_share),
    ):
        yield Check(name, "the tag vocabulary", len(tags), len(ids), limit, tuple(tags[:_EXAMPLES]))


@dataclasses.dataclass
class _Scan:
    """What one pass over a split leaves: counts, culprits, and a hash of each row's id, group and text."""

    split: Split
    source_ids: int = 0
    counts: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    culprits: dict[str, list[str]] = dataclasses.field(default_factory=lambda: collections.defaultdict(list))
    hashes: dict[str, array.array] = dataclasses.field(
        default_factory=lambda: {"id": array.array("Q"), "group": array.array("Q"), "text": array.array("Q")}
    )

    def add(self, row: Row, defects: Mapping[str, int]) -> None:
        self.source_ids += len(row["source"])
        for name, count in defects.items():
            self.counts[name] += count
            if count and len(self.culprits[name]) < _EXAMPLES:
                self.culprits[name].append(row["id"])
        for key, text in (("id", row["id"]), ("group", row["group"]), ("text", row["text"])):
            digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
            self.hashes[key].append(int.from_bytes(digest, "little"))

    def keys(self, name: str) -> np.ndarray:
        return np.asarray(self.hashes[name], np.uint64)

    def check(self, name: str, where: str, mask: np.ndarray, limit: float) -> Check:
        culprits = (self.split[int(row)]["id"] for row in np.flatnonzero(mask)[:_EXAMPLES])
        return Check(name, where, int(mask.sum()), len(self.split), limit, tuple(culprits))


def _scan(split: Split, tokenizer: Tokenizer, targets: Targets, target_length: int) -> _Scan:
    scan = _Scan(split)
    for start in range(0, len(split), _CHUNK):
        for row in split.read(range(start, min(start + _CHUNK, len(split)))):
            defects = {
                "unknown_text": int(np.count_nonzero(row["source"] == tokenizer.unknown)),
                "truncated_sources": int(row["truncated"]),
                "truncated_targets": int(targets.length(row["tags"].tolist()) > target_length),
                "untagged_rows": int(not len(row["tags"])),
                "empty_rows": int(not row["text"].strip()),
            }
            scan.add(row, defects)
    return scan


def _split_checks(where: str, scan: _Scan, config: PreflightConfig) -> Iterator[Check]:
    rows = len(scan.split)
    for name, of, limit in (
        ("unknown_text", scan.source_ids, config.max_unknown_share),
        ("truncated_sources", rows, config.max_truncated_source_share),
        ("truncated_targets", rows, config.max_truncated_target_share),
        ("untagged_rows", rows, config.max_untagged_share),
        ("empty_rows", rows, config.max_empty_share),
    ):
        yield Check(name, where, scan.counts[name], of, limit, tuple(scan.culprits[name]))
    yield scan.check("duplicate_ids", where, _repeats(scan.keys("id")), 0.0)
    yield scan.check("duplicate_rows", where, _repeats(scan.keys("text")), config.max_duplicate_share)


def _leak_checks(scans: Mapping[str, _Scan], config: PreflightConfig) -> Iterator[Check]:
    for (earlier, before), (later, after) in itertools.combinations(scans.items(), 2):
        for key in ("id", "group", "text"):
            seen = np.isin(after.keys(key), before.keys(key))
            yield after.check(f"leaked_{key}s", f"{later} from {earlier}", seen, config.max_leaked_share)


def _repeats(keys: np.ndarray) -> np.ndarray:
    """Which keys occurred earlier in the array."""
    repeated = np.ones(len(keys), bool)
    repeated[np.unique(keys, return_index=True)[1]] = False
    return repeated
