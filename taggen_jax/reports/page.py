"""The sections of a report, from runs to one HTML page."""

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from taggen_jax.metrics import languages
from taggen_jax.metrics.bootstrap import Sample, compare
from taggen_jax.metrics.calibration import BINS
from taggen_jax.metrics.curves import confusions, extremes, precision_recall
from taggen_jax.metrics.prediction import Prediction
from taggen_jax.metrics.slices import DECILES, SLICES
from taggen_jax.metrics.table import render
from taggen_jax.reports import plots
from taggen_jax.reports.markup import Html, element, join, table
from taggen_jax.reports.run import Run
from taggen_jax.reports.style import CSS

MAIN = {"micro_f1": "micro-F1", "macro_f1": "macro-F1", "p_at_5": "P@5", "ndcg_at_5": "nDCG@5"}
COLUMNS = {
    "micro_f1": "micro-F1",
    "macro_f1": "macro-F1",
    "sample_f1": "sample-F1",
    "exact_match": "exact",
    "p_at_1": "P@1",
    "p_at_5": "P@5",
    "recall_at_5": "R@5",
    "ndcg_at_5": "nDCG@5",
    "psp_at_5": "PSP@5",
    "tail_recall_at_5": "tail R@5",
    "coverage": "coverage",
    "ece_at_5": "ECE@5",
}
LOWER_IS_BETTER = {"ece_at_5"}
CURVES = {
    "train/loss": ("Loss in training", "loss"),
    "validation/loss": ("Loss on validation", "loss"),
    "validation/micro_f1": ("micro-F1 on validation", "micro-F1"),
    "validation/macro_f1": ("macro-F1 on validation", "macro-F1"),
    "validation/p_at_5": ("P@5 on validation", "P@5"),
    "validation/ndcg_at_5": ("nDCG@5 on validation", "nDCG@5"),
    "train/learning_rate": ("Learning rate", "learning rate"),
}
# No request and no script, whatever the texts are.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
UNIT = {"left": 0.0, "right": 1.0, "bottom": 0.0}
PAIRS, PRODUCTS, LETTERS, POINTS = 20, 8, 420, 400


def page(runs: Sequence[Run]) -> Html:
    """The whole page. The first run is looked at closely, the others are compared with it."""
    first = runs[0]
    body = element(
        "main",
        element("h1", "Tag report"),
        element("p", f"{', '.join(run.name for run in runs)} · {_products(first)}", class_="soft"),
        _scores(first),
        _comparison(runs) if len(runs) > 1 else "",
        _training(runs),
        _quality(runs),
        _confusions(first),
        _cases(first),
        _everything(runs),
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("title", f"Tag report: {first.name}"),
        element("style", Html(CSS)),
    )
    return Html(f"<!doctype html>\n{element('html', head, element('body', body), lang='en')}\n")


def _products(run: Run) -> str:
    n, tags = len(run.predictions), run.metrics["gold_tags"]
    return f"{n:,} products, {tags:.1f} gold tags each, {len(run.counts):,} tags in the vocabulary"


def _scores(run: Run) -> Html:
    cards = (
        element(
            "div",
            element("div", label, class_="name"),
            element("div", _percent(run.intervals[key].value), class_="value"),
            element(
                "div",
                f"{_percent(run.intervals[key].low)} to {_percent(run.intervals[key].high)}",
                class_="range",
            ),
            class_="card",
        )
        for key, label in MAIN.items()
    )
    note = f"{run.name}, in percent, with 95% intervals of 10,000 bootstrap resamples of the products."
    return join([element("div", cards, class_="cards"), element("p", note, class_="soft")])


def _comparison(runs: Sequence[Run]) -> Html:
    keys = [key for key in COLUMNS if any(key in run.metrics for run in runs)]
    best = {
        key: (min if key in LOWER_IS_BETTER else max)(run.metrics[key] for run in runs if key in run.metrics)
        for key in keys
    }
    rows = ([run.name, *(_cell(run, key, best[key]) for key in keys)] for run in runs)
    return join(
        [
            element("h2", "Runs compared"),
            table(["in percent", *(COLUMNS[key] for key in keys)], rows),
            *(_difference(runs[0], run) for run in runs[1:]),
        ]
    )


def _cell(run: Run, key: str, best: float) -> object:
    if key not in run.metrics:
        return "–"
    value = _percent(run.metrics[key])
    return element("b", value) if run.metrics[key] == best else value


def _difference(first: Run, other: Run) -> Html:
    """The paired bootstrap, where both runs answered the same products."""
    heading = element("h3", f"{other.name} against {first.name}")
    order = {id: i for i, id in enumerate(other.ids)}
    if order.keys() != set(first.ids):
        return join([heading, element("p", "Not of the same products, so not to be paired.", class_="soft")])
    paired = Sample([other.predictions[order[id]] for id in first.ids])
    rows = [
        (
            MAIN[name],
            f"{100 * d.difference.value:+.1f}",
            f"{100 * d.difference.low:+.1f} to {100 * d.difference.high:+.1f}",
            f"{d.p:.4f}",
        )
        for name, d in compare(first.sample, paired).items()
    ]
    return join([heading, table(["paired bootstrap over products", "difference", "95% interval", "p"], rows)])


def _training(runs: Sequence[Run]) -> Html:
    drawn = []
    for key, (title, label) in CURVES.items():
        curves = {run.name: points for run in runs if len(points := run.curve(key)) > 1}
        if curves:
            drawn.append(plots.lines(title, "step", label, curves))
    return join([element("h2", "Training"), element("div", drawn, class_="plots")]) if drawn else Html()


def _quality(runs: Sequence[Run]) -> Html:
    precision = {run.name: _thin(precision_recall(run.predictions)[:, [2, 1]]) for run in runs}
    bins = {run.name: run.evaluation.calibration.pooled().bins(BINS) for run in runs}
    reliability = {name: rows[:, 1:3] / rows[:, :1] for name, rows in bins.items()}
    risks = {run.name: _thin(_coverage(run.evaluation.risk.curves()[:, 0])) for run in runs}
    names = [f"{name}, {least}+" if least else name for name, least in SLICES.items()]
    spoken = languages.named(runs[0].metrics)
    drawn = [
        plots.lines(
            "Precision and recall, all pairs pooled", "recall", "precision", precision, **UNIT, top=1.02
        ),
        plots.reliability(reliability),
        plots.bars(
            "F1 by training count",
            "training products of the tag",
            "micro-F1",
            names,
            _slices(runs, SLICES, "micro_f1"),
        ),
        plots.bars(
            "Recall@5 by training count",
            "training products of the tag",
            "recall@5",
            names,
            _slices(runs, SLICES, "recall_at_5"),
        ),
        plots.bars(
            "F1 by tag frequency, tenths of the training pairs",
            "frequent tags to rare ones",
            "micro-F1",
            [str(i + 1) for i in range(len(DECILES))],
            _slices(runs, DECILES, "micro_f1"),
        ),
        plots.lines(
            "Risk when doubtful products are left out", "share answered", "risk, 1 - F1", risks, **UNIT
        ),
    ]
    if len(spoken) > 1:
        heights = _slices(runs, spoken.values(), "micro_f1")
        drawn.append(
            plots.bars("F1 by language of the product", "language", "micro-F1", list(spoken), heights)
        )
    return join([element("h2", "Quality"), element("div", drawn, class_="plots")])


def _slices(runs: Sequence[Run], names: Iterable[str], measure: str) -> dict[str, list[float]]:
    return {run.name: [run.metrics.get(f"{name}_{measure}", math.nan) for name in names] for run in runs}


def _coverage(risk: np.ndarray) -> np.ndarray:
    return np.stack([np.arange(1, len(risk) + 1) / max(len(risk), 1), risk], axis=1)


def _thin(points: np.ndarray) -> np.ndarray:
    """At most so many points as a plot can show, the ends among them."""
    if len(points) <= POINTS:
        return points
    return points[np.linspace(0, len(points) - 1, POINTS).astype(int)]


def _confusions(run: Run) -> Html:
    rows = [(str(c.predicted), str(c.gold), c.products, c.right) for c in confusions(run.predictions, PAIRS)]
    if not rows:
        return Html()
    heading = ["predicted", "instead of", "products", "missed tag right elsewhere"]
    return join([element("h2", "Most confused tags"), table(heading, rows, class_="words")])


def _cases(run: Run) -> Html:
    worst, best = extremes(run.predictions, PRODUCTS)
    legend = element(
        "p",
        element("span", "right", class_="tag right"),
        element("span", "wrong", class_="tag wrong"),
        element("span", "missed", class_="tag missed"),
        class_="soft",
    )
    return join(
        [
            element("h2", "Worst products"),
            element(
                "p", "Lowest F1, the most confident first: look for wrong gold tags here, too.", class_="soft"
            ),
            legend,
            *(_product(run.ids[i], run.predictions[i]) for i in worst),
            element("h2", "Best products"),
            element("p", "Highest F1, those with most tags first.", class_="soft"),
            *(_product(run.ids[i], run.predictions[i]) for i in best),
        ]
    )


def _product(id: str, prediction: Prediction) -> Html:
    text = prediction.text if len(prediction.text) <= LETTERS else prediction.text[: LETTERS - 1] + "…"
    right = len(set(prediction.gold) & set(prediction.tags))
    count = f"{right} of {len(prediction.gold)} found, {len(prediction.tags) - right} wrong"
    return element(
        "div",
        element("div", element("span", id), element("span", count), class_="head"),
        element("p", text, class_="text"),
        element("div", _tags(prediction)),
        class_="product",
    )


def _tags(prediction: Prediction) -> Iterator[Html]:
    scores = dict(zip(prediction.ranked, prediction.scores or (), strict=False))
    for tag in prediction.tags:
        kind = "right" if tag in prediction.gold else "wrong"
        score = element("small", f"{scores[tag]:.2f}") if tag in scores else ""
        yield element("span", str(tag), score, class_=f"tag {kind}")
    for tag in prediction.gold:
        if tag not in prediction.tags:
            yield element("span", str(tag), class_="tag missed")


def _everything(runs: Sequence[Run]) -> Html:
    return join(
        element(
            "details",
            element("summary", f"Every measure: {run.name}"),
            element("div", element("pre", render(run.metrics)), class_="scroll"),
        )
        for run in runs
    )


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"
