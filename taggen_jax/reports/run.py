"""One run as a report sees it: its predictions, all its measures, and how it was trained."""

import dataclasses
import functools
import json
import pathlib
from typing import Any

import numpy as np

from taggen_jax.files import read_json
from taggen_jax.metrics.bootstrap import Interval, Sample, intervals
from taggen_jax.metrics.evaluate import Evaluation
from taggen_jax.metrics.prediction import Prediction


@dataclasses.dataclass(frozen=True)
class Run:
    """What was read of a workdir.

    Attributes:
      name: what the report calls it.
      ids: of the products, in the order of `predictions`.
      counts: tag to number of training products.
      history: the lines of metrics.jsonl; none where nothing was trained here.
      written: metrics.json, which knows what the predictions alone do not (the number of training products).
    """

    name: str
    ids: tuple[str, ...]
    predictions: tuple[Prediction, ...]
    counts: dict[str, int]
    history: tuple[dict[str, Any], ...]
    written: dict[str, float]

    @functools.cached_property
    def evaluation(self) -> Evaluation:
        """All products scored anew."""
        evaluation = Evaluation(self.counts)
        for prediction in self.predictions:
            evaluation.add(prediction)
        return evaluation

    @functools.cached_property
    def metrics(self) -> dict[str, float]:
        """Every measure."""
        return {**self.written, **self.evaluation.result()}

    @functools.cached_property
    def sample(self) -> Sample:
        return Sample(self.predictions)

    @functools.cached_property
    def intervals(self) -> dict[str, Interval]:
        """The main measures with bootstrap intervals."""
        return intervals(self.sample)

    def curve(self, name: str) -> np.ndarray:
        """How a metric went: float64[points, 2] of step and value."""
        points = [(line["step"], line[name]) for line in self.history if line.get(name) is not None]
        return np.array(points, float).reshape(-1, 2)


def history(path: pathlib.Path) -> tuple[dict[str, Any], ...]:
    """The whole lines of a metrics.jsonl, or none where there is none; a run may still be writing it."""
    if not path.is_file():
        return ()
    text = path.read_text(encoding="utf-8")
    return tuple(json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n"))


def written(path: pathlib.Path) -> dict[str, float]:
    """metrics.json, or nothing where there is none."""
    return read_json(path, "the metrics") if path.is_file() else {}
