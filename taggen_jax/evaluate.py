"""taggen evaluate: tags a prepared split and measures the tags against the ones that people gave."""

import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from taggen_jax.calibrated import finisher
from taggen_jax.decode.inclusion import Tagged
from taggen_jax.errors import UserError
from taggen_jax.experiment import Experiment
from taggen_jax.files import atomic_write, write_json
from taggen_jax.metrics.evaluate import Evaluation
from taggen_jax.metrics.prediction import Prediction
from taggen_jax.metrics.table import render
from taggen_jax.prepared import Prepared
from taggen_jax.tagger import Tagger, best_step, open_workdir
from taggen_jax.terminal import counted

Row = Mapping[str, Any]


def run(
    workdir: pathlib.Path,
    data: pathlib.Path,
    split: str = "test",
    output: pathlib.Path | None = None,
    experiment: Experiment | None = None,
) -> dict[str, float]:
    """Writes metrics.json and predictions.jsonl into `output` (the workdir by default), prints the table.

    A line of predictions.jsonl: "id"; "tags", the answer, best first, with "scores", their inclusion
    probabilities; "gold"; "candidates", the longer ranking that the measures at k look at, as [tag, score]
    pairs.

    Raises:
      UserError: workdir or data are incomplete, or were not made for each other.
    """
    step = best_step(workdir, experiment)
    experiment, tagger, params = open_workdir(workdir, experiment, step)
    finish = finisher(workdir, experiment, step)
    prepared, output = Prepared(data), output or workdir
    if not len(prepared.source(split)):
        raise UserError(
            f"{data}: its {split} split is empty; evaluate another one, or prepare with more rows"
        )
    evaluation = Evaluation(prepared.counts)
    with atomic_write(output / "predictions.jsonl") as file:
        batches = prepared.eval_batches(experiment, split, experiment.generate.batch_size)
        answers = predictions(tagger, params, batches, prepared, split)
        for row, found, gold in counted(answers, len(prepared.source(split)), "evaluate", "products"):
            tagged = finish(found)
            evaluation.add(prediction(tagged, gold))
            line = {"id": row["id"], "tags": tagged.tags, "scores": rounded(tagged.scores), "gold": gold}
            line["candidates"] = [[tag, round(score, 6)] for tag, score in tagged.ranked]
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    metrics = evaluation.result()
    write_json(output / "metrics.json", metrics)
    print(render(metrics))
    return metrics


def score(
    tagger: Tagger, params: Any, batches: Iterable[Mapping[str, np.ndarray]], prepared: Prepared, split: str
) -> Evaluation:
    """Tags some batches of a split and scores them, without writing anything."""
    evaluation = Evaluation(prepared.counts)
    for _, tagged, gold in predictions(tagger, params, batches, prepared, split):
        evaluation.add(prediction(tagged, gold))
    return evaluation


def predictions(
    tagger: Tagger, params: Any, batches: Iterable[Mapping[str, np.ndarray]], prepared: Prepared, split: str
) -> Iterator[tuple[Row, Tagged, tuple[str, ...]]]:
    """(stored row, answer, gold tags) of every product in the batches."""
    source, tags = prepared.source(split), prepared.vocabulary.tags
    for index, tagged in tagger.tag(params, batches):
        row = source[index]
        yield row, tagged, tuple(tags[i] for i in row["tags"])


def prediction(tagged: Tagged, gold: tuple[str, ...]) -> Prediction:
    ranked = tuple(tag for tag, _ in tagged.ranked)
    return Prediction(gold=gold, tags=tagged.tags, ranked=ranked, duplicates=tagged.duplicates)


def rounded(scores: Iterable[float]) -> list[float]:
    """To the six decimals that are written to files."""
    return [round(score, 6) for score in scores]
