"""taggen evaluate: tags a prepared split and measures the tags against the ones that people gave."""

import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from taggen_jax import subsets
from taggen_jax.calibrated import finisher
from taggen_jax.decode.inclusion import Tagged
from taggen_jax.errors import UserError
from taggen_jax.experiment import Experiment
from taggen_jax.files import atomic_write, write_json
from taggen_jax.governed import govern, governance
from taggen_jax.metrics.evaluate import Evaluation
from taggen_jax.metrics.prediction import Prediction
from taggen_jax.metrics.table import render
from taggen_jax.parallel import hosts
from taggen_jax.predictions import NAME, to_line
from taggen_jax.prepared import Prepared
from taggen_jax.runs.workdir import Workdir
from taggen_jax.tagger import Tagger, best_step, open_workdir
from taggen_jax.terminal import counted

SAMPLES, LETTERS = 8, 160  # products that training shows after an evaluation, and how much of their text

Row = Mapping[str, Any]


def run(
    workdir: pathlib.Path,
    data: pathlib.Path,
    split: str = "test",
    output: pathlib.Path | None = None,
    experiment: Experiment | None = None,
) -> dict[str, float]:
    """Writes metrics.json and predictions.jsonl into `output` (the workdir by default), prints the table.

    Another folder than the workdir also gets what `taggen report` reads: the vocabulary and the training log.

    What a line of predictions.jsonl holds is said in `taggen_jax.predictions`; scores are inclusion
    probabilities.

    Raises:
      UserError: workdir or data are incomplete, or were not made for each other.
    """
    step = best_step(workdir, experiment)
    experiment, tagger, params = open_workdir(workdir, experiment, step)
    subsets.refuse(experiment.generate.subsets)
    finish = govern(finisher(workdir, experiment, step), governance(workdir, experiment))
    prepared, output = Prepared(data), output or workdir
    if not len(prepared.source(split)):
        raise UserError(
            f"{data}: its {split} split is empty; evaluate another one, or prepare with more rows"
        )
    evaluation = Evaluation(prepared.counts, len(prepared.source("train")), prepared.parents)
    rows, writes = len(prepared.source(split)), hosts.first()
    with atomic_write(output / NAME) if writes else open(os.devnull, "w") as file:
        batches = prepared.eval_batches(experiment, split, experiment.generate.batch_size)
        answers = predictions(tagger, params, batches, prepared, split)
        for row, found, gold in counted(answers, rows, "evaluate", "products") if writes else answers:
            scored = prediction(finish(found), gold, row)
            evaluation.add(scored)
            file.write(to_line(row["id"], scored))
    metrics = evaluation.result()
    if writes:
        write_json(output / "metrics.json", metrics)
        for path in (Workdir(workdir).vocabulary, Workdir(workdir).metrics):
            if path.exists() and output.resolve() != workdir.resolve():
                shutil.copyfile(path, output / path.name)
        print(render(metrics))
    return metrics


def score(
    tagger: Tagger, params: Any, batches: Iterable[Mapping[str, np.ndarray]], prepared: Prepared, split: str
) -> tuple[Evaluation, list[Prediction]]:
    """Tags some batches of a split and scores them, without writing anything; also returns the first few."""
    evaluation = Evaluation(prepared.counts, len(prepared.source("train")), prepared.parents)
    samples: list[Prediction] = []
    for row, tagged, gold in predictions(tagger, params, batches, prepared, split):
        scored = prediction(tagged, gold, row)
        evaluation.add(scored)
        if len(samples) < SAMPLES:
            samples.append(scored)
    return evaluation, samples


def describe(samples: Iterable[Prediction]) -> str:
    """Some tagged products as lines of plain text: what was read, what was answered, what people gave."""
    lines = []
    for item in samples:
        tags, gold = (", ".join(map(str, part)) for part in (item.tags, item.gold))
        lines += [item.text[:LETTERS].replace("\n", " "), f"  tags: {tags}", f"  gold: {gold}", ""]
    return "\n".join(lines)


def predictions(
    tagger: Tagger, params: Any, batches: Iterable[Mapping[str, np.ndarray]], prepared: Prepared, split: str
) -> Iterator[tuple[Row, Tagged, tuple[str, ...]]]:
    """(stored row, answer, gold tags) of every product in the batches."""
    source, tags = prepared.source(split), prepared.vocabulary.tags
    for index, tagged in tagger.tag(params, batches):
        row = source[index]
        yield row, tagged, tuple(tags[i] for i in row["tags"])


def prediction(tagged: Tagged, gold: tuple[str, ...], row: Row) -> Prediction:
    return Prediction(
        gold=gold,
        tags=tagged.tags,
        ranked=tuple(tag for tag, _ in tagged.ranked),
        scores=tuple(score for _, score in tagged.ranked),
        text=row["text"],
        language=row["language"],
        duplicates=tagged.duplicates,
    )
