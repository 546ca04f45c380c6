"""The result of an evaluation as a plain-text table."""

from collections.abc import Mapping, Sequence

from taggen_jax.metrics.ranking import DEPTHS
from taggen_jax.metrics.slices import DEPTH, SLICES

AVERAGES = {
    "micro": "micro_{}",
    "macro, tags with a positive": "macro_{}",
    "macro, whole vocabulary": "macro_{}_all",
    "mean over products": "sample_{}",
}
RANKINGS = {
    "precision": "p_at_{}",
    "recall": "recall_at_{}",
    "nDCG": "ndcg_at_{}",
    "F1 (short lists penalised)": "f1_at_{}",
    "F1 (short lists as they are)": "f1_at_{}_soft",
}
RATES = {
    "exact match": "exact_match",
    "nothing predicted": "empty_rate",
    "tags outside the vocabulary": "invalid_rate",
    "repeated tags": "duplicate_rate",
}
NUMBERS = {
    "products": "products",
    "products without gold tags": "without_gold",
    "gold tags a product": "gold_tags",
    "predicted tags a product": "predicted_tags",
}

Rows = Sequence[tuple[str, ...]]


def render(result: Mapping[str, float]) -> str:
    """Lays out what `Evaluation.result` returns: several lines, fractions as percent with one decimal.

    A "-" stands where there was nothing to measure: a slice without positives.
    """
    sections: list[tuple[tuple[str, ...], Rows]] = [
        (("tag sets, %", "P", "R", "F1"), _percents(result, AVERAGES, ("precision", "recall", "f1"))),
        (("first k, %", *(f"k={k}" for k in DEPTHS)), _percents(result, RANKINGS, DEPTHS)),
        (("by training count, %", "micro-F1", f"recall@{DEPTH}", "positives"), _slices(result)),
        (("outputs", "%"), _percents(result, RATES, ("",))),
        (("size", ""), [(label, _number(result[key])) for label, key in NUMBERS.items()]),
    ]
    width = max(len(row[0]) for heading, rows in sections for row in (heading, *rows))
    return "\n\n".join(_lines([heading, *rows], width) for heading, rows in sections)


def _percents(result: Mapping[str, float], rows: Mapping[str, str], columns: Sequence[object]) -> Rows:
    return [
        (label, *(_percent(result, key.format(column)) for column in columns)) for label, key in rows.items()
    ]


def _slices(result: Mapping[str, float]) -> Rows:
    scores = _percents(result, {name: f"{name}_{{}}" for name in SLICES}, ("micro_f1", f"recall_at_{DEPTH}"))
    return [
        (f"{row[0]}, from {least}", *row[1:], _number(result[f"{row[0]}_positives"]))
        for row, least in zip(scores, SLICES.values(), strict=True)
    ]


def _percent(result: Mapping[str, float], key: str) -> str:
    return f"{100 * result[key]:.1f}" if key in result else "-"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f}"


def _lines(rows: Rows, width: int) -> str:
    lines = (row[0].ljust(width) + "".join(cell.rjust(11) for cell in row[1:]) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
