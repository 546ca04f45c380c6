"""What decides the tags of a product besides its text: a digest of what it may be given, set by set.

An incremental run compares these digests, so that a change of the vocabulary, of its governance, of the
subsets or of the forbidden tags reaches the products whose own set it touches, and no others.
"""

import hashlib
import itertools
import json
import pathlib
from typing import Any

import numpy as np

from taggen_jax import closed, subsets
from taggen_jax.batch.fingerprint import digest
from taggen_jax.catalog.vocabulary import Vocabulary
from taggen_jax.closed import Spelling
from taggen_jax.experiment import Experiment
from taggen_jax.governed import Governance
from taggen_jax.runs.workdir import trained


def digests(
    workdir: pathlib.Path, experiment: Experiment, spelling: Spelling | None, rules: Governance | None
) -> tuple[str, ...]:
    """The digest of each set of `generate.subsets` by its number; a single one where there are none.

    A closed search depends on the tags of the product's set, on how they are spelled, on what the rules make
    of them, and on the longest tag of all sets (a list goes on only where that one has room). An open search
    may write anything: there, everything counts.

    Args:
      workdir, experiment, rules: what the tagger was made of.
      spelling: the tagger's.
    """
    parts, config = trained(workdir), experiment.generate
    if config.vocabulary == "open" and config.mode != "head":
        files = [path for path in (parts.vocabulary, parts.thesaurus) if path.exists()]
        return (_digest([*map(digest, files), config.withheld, config.forbidden]),)
    vocabulary = Vocabulary.load(parts.vocabulary)
    config = rules.restrict(vocabulary) if rules else config
    tags = closed.offered(vocabulary, config.forbidden)
    spelled = spelling.lists() if spelling else [[vocabulary.index(tag)] for tag in tags]
    common = max(map(len, spelled))
    sets_GX = np.ones((1, len(tags)), bool)
    if config.subsets:
        sets_GX = subsets.load(config.subsets).allowed(tags, vocabulary)
    facts = [(tag, ids, rules.given(tag) if rules else [tag]) for tag, ids in zip(tags, spelled, strict=True)]
    # Sorted, so that a set does not depend on where the vocabulary has its tags.
    return tuple(_digest([common, sorted(itertools.compress(facts, own_X))]) for own_X in sets_GX)


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=16).hexdigest()
