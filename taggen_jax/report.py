"""taggen report: one HTML file about some runs, to be read by people and sent around."""

import pathlib
from collections.abc import Sequence

from taggen_jax import predictions
from taggen_jax.catalog.vocabulary import Vocabulary
from taggen_jax.errors import UserError
from taggen_jax.files import atomic_write
from taggen_jax.reports.page import page
from taggen_jax.reports.run import Run, history, written
from taggen_jax.runs.workdir import Workdir


def run(workdir: pathlib.Path, output: pathlib.Path) -> None:
    """Writes a report about one evaluated workdir, or several: "first,second" compares them with the first.

    A workdir, or another folder that `taggen evaluate --output`, `crossval` or `fuse` wrote, holds
    predictions.jsonl and vocabulary.json; metrics.jsonl adds the curves of training, metrics.json the
    propensity-scored measures. The page loads nothing from elsewhere and runs no script.

    Raises:
      UserError: a workdir was not evaluated, or matplotlib is not installed.
    """
    folders = [pathlib.Path(name) for name in str(workdir).split(",") if name]
    if not folders:
        raise UserError("taggen report: --workdir names no folder; give one, or several as first,second")
    runs = [load(folder, name) for folder, name in zip(folders, _names(folders), strict=True)]
    with atomic_write(output) as file:
        file.write(page(runs))
    print(f"report on {', '.join(run.name for run in runs)}: {output}")


def load(folder: pathlib.Path, name: str) -> Run:
    """Reads one workdir."""
    answers, work = predictions.read(folder), Workdir(folder)
    if not answers:
        raise UserError(f"{folder}: its {predictions.NAME} is empty; evaluate a split with products in it")
    vocabulary = Vocabulary.load(work.vocabulary)
    return Run(
        name,
        tuple(answer.id for answer in answers),
        tuple(answer.prediction for answer in answers),
        dict(zip(vocabulary.tags, vocabulary.counts, strict=True)),
        history(work.metrics),
        written(folder / "metrics.json"),
    )


def _names(folders: Sequence[pathlib.Path]) -> list[str]:
    """Each folder's own name, or the whole path where two are called alike."""
    names = [folder.resolve().name for folder in folders]
    return [
        name if names.count(name) == 1 else str(folder) for name, folder in zip(names, folders, strict=True)
    ]
