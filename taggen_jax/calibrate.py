"""taggen calibrate: learns on validation what the scores are worth, so that one can act on them."""

import pathlib
from collections.abc import Sequence

import numpy as np

from taggen_jax import calibrated, subsets
from taggen_jax.decode.calibrate import Judged, cross_fitted, fit
from taggen_jax.errors import UserError
from taggen_jax.evaluate import predictions
from taggen_jax.experiment import Experiment
from taggen_jax.prepared import Prepared
from taggen_jax.tagger import best_step, open_workdir
from taggen_jax.terminal import counted

DEPTH, BINS = 5, 15  # the error is measured on the best candidates: the many others are easy
PRECISIONS = (0.7, 0.8, 0.9, 0.95)


SPLIT = "validation"


def run(workdir: pathlib.Path, data: pathlib.Path, experiment: Experiment | None = None) -> dict[str, float]:
    """Writes calibration.json into the workdir, which `taggen generate` and `evaluate` apply from then on.

    Returns the expected calibration error at 5 before, and after by cross-fitting.

    Raises:
      UserError: workdir or data are incomplete, or validation has too few products.
    """
    step = best_step(workdir, experiment)
    experiment, tagger, params = open_workdir(workdir, experiment, step)
    subsets.refuse(experiment.generate.subsets)
    prepared = Prepared(data)
    batches = prepared.eval_batches(experiment, SPLIT, experiment.generate.batch_size)
    answers = predictions(tagger, params, batches, prepared, SPLIT)
    products: list[Judged] = [
        [(tag, score, tag in gold) for tag, score in tagged.ranked]
        for _, tagged, gold in counted(answers, len(prepared.source(SPLIT)), "calibrate", "products")
    ]
    try:
        judged, calibration = cross_fitted(products), fit(products)
    except ValueError as error:
        raise UserError(f"{data}: validation: {error}; prepare with a larger share of it") from error
    calibrated.save(workdir, experiment, step, calibration)
    before = calibration_error([[(score, right) for _, score, right in product] for product in products])
    after = calibration_error(judged)
    print(f"{len(products):,} products, calibration error at {DEPTH}: {before:.4f} -> {after:.4f}")
    for precision in PRECISIONS:
        least = calibration.threshold(precision)
        answered = sum(probability >= least for product in judged for probability, _ in product)
        found = f"{answered / len(products):.2f} tags a product" if answered else "out of reach"
        print(f"precision {precision:.2f}: {found}")
    return {"before": before, "after": after}


def calibration_error(judged: Sequence[Sequence[tuple[float, bool]]]) -> float:
    """Expected calibration error over the 5 best candidates of each product, in 15 bins of equal mass."""
    pairs = np.array([pair for product in judged for pair in product[:DEPTH]], np.float64).reshape(-1, 2)
    bins = np.array_split(pairs[np.argsort(pairs[:, 0], kind="stable")], BINS)
    return float(sum(abs((bin_[:, 0] - bin_[:, 1]).sum()) for bin_ in bins) / max(1, len(pairs)))
