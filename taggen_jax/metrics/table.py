"""The result of an evaluation as a plain-text table."""

from collections.abc import Mapping, Sequence

from taggen_jax.metrics import languages
from taggen_jax.metrics.ranking import DEPTHS
from taggen_jax.metrics.risk import COVERAGES
from taggen_jax.metrics.slices import DECILES, DEPTH, SLICES

AVERAGES = {
    "micro": "micro_{}",
    "macro, tags with a positive": "macro_{}",
    "macro, whole vocabulary": "macro_{}_all",
    "mean over products": "sample_{}",
    "micro, with ancestors": "hierarchical_micro_{}",
    "mean over products, with ancestors": "hierarchical_sample_{}",
}
RANKINGS = {
    "precision": "p_at_{}",
    "recall": "recall_at_{}",
    "nDCG": "ndcg_at_{}",
    "F1 (short lists penalised)": "f1_at_{}",
    "F1 (short lists as they are)": "f1_at_{}_soft",
    "propensity-scored precision": "psp_at_{}",
}
VARIANTS = {
    "precision (short lists as they are)": "p_at_{}_soft",
    "nDCG (ideal of k tags)": "ndcg_at_{}_full",
    "F1 of mean P and R": "f1_of_means_at_{}",
    "F1 of mean P and R (lists as they are)": "f1_of_means_at_{}_soft",
}
TAGGED = {
    label: f"{key}_tagged"
    for label, key in (RANKINGS | VARIANTS).items()
    if not key.startswith(("psp", "f1_of_means"))
}
AT_GOLD = {"R-precision (F1@O)": "r_precision{}", "F1@O (short lists as they are)": "f1_at_o_soft{}"}
LABELS = {name: f"{name}, from {least}" for name, least in SLICES.items()} | {
    name: name.replace("_", " ") for name in DECILES
}
RATES = {
    "exact match": "exact_match",
    "gold tags hit at least once": "coverage",
    "nothing predicted": "empty_rate",
    "tags outside the vocabulary": "invalid_rate",
    "repeated tags": "duplicate_rate",
}
SCORES = {
    f"calibration error, first {DEPTH}": f"ece_at_{DEPTH}",
    f"Brier score, first {DEPTH}": f"brier_at_{DEPTH}",
    "Brier score, all pairs": "brier_all",
    "area of risk (1 - F1) by coverage": "aurc_f1",
    "area of risk (no exact match)": "aurc_exact",
}
RISK = {"risk, 1 - F1": "risk_at_{}"}
NUMBERS = {
    "products": "products",
    "products without gold tags": "without_gold",
    "gold tags a product": "gold_tags",
    "predicted tags a product": "predicted_tags",
}
PARTS = ("precision", "recall", "f1")

Rows = Sequence[tuple[str, ...]]


def render(result: Mapping[str, float]) -> str:
    """Lays out what `Evaluation.result` returns: several lines, fractions as percent with one decimal.

    A "-" stands where there was nothing to measure, as in a slice without positives; a row of nothing else is
    left out. Means over the products with gold tags are shown where there are products without.
    """
    depths, sliced = tuple(f"k={k}" for k in DEPTHS), ("micro_f1", f"recall_at_{DEPTH}", f"ece_at_{DEPTH}")
    halves = {f"{half} in the text": half for half in ("present", "absent")}
    sections: list[tuple[tuple[str, ...], Rows]] = [
        (
            ("tag sets, %", "P", "R", "F1", "F1 of P, R"),
            _percents(result, AVERAGES, (*PARTS, "f1_of_means")),
        ),
        (("first k, %", *depths), _percents(result, RANKINGS, DEPTHS)),
        (("first k, other readings, %", *depths), _percents(result, VARIANTS, DEPTHS)),
        (("first |gold|, %", ""), _percents(result, AT_GOLD, ("",))),
        *(_tagged(result, depths) if result["without_gold"] else ()),
        (
            ("by training count, %", "micro-F1", f"recall@{DEPTH}", f"ECE@{DEPTH}", "positives"),
            _with_positives(result, {label: name for name, label in LABELS.items()}, sliced),
        ),
        (
            ("by place, %", "P", "R", "F1", f"F1@{DEPTH}", f"recall@{DEPTH}", "positives"),
            _with_positives(
                result, halves, (*(f"micro_{part}" for part in PARTS), f"f1_at_{DEPTH}", f"recall_at_{DEPTH}")
            ),
        ),
        (
            ("by language, %", "P", "R", "F1", f"P@{DEPTH}", "positives"),
            _with_positives(
                result, languages.named(result), (*(f"micro_{part}" for part in PARTS), f"p_at_{DEPTH}")
            ),
        ),
        (("scores", "%"), _percents(result, SCORES, ("",))),
        (("most confident, %", *map(str, COVERAGES)), _percents(result, RISK, COVERAGES)),
        (("outputs", "%"), _percents(result, RATES, ("",))),
        (("size", ""), [(label, _number(result[key])) for label, key in NUMBERS.items()]),
    ]
    sections = [(heading, rows) for heading, rows in sections if rows]
    width = max(len(row[0]) for heading, rows in sections for row in (heading, *rows))
    return "\n\n".join(_lines([heading, *rows], width) for heading, rows in sections)


def _tagged(result: Mapping[str, float], depths: tuple[str, ...]) -> list[tuple[tuple[str, ...], Rows]]:
    """The sections of the products with gold tags alone."""
    return [
        (
            ("tagged products only, %", "P", "R", "F1"),
            _percents(result, {"mean over products": "sample_{}_tagged"}, PARTS),
        ),
        (("tagged products, first k, %", *depths), _percents(result, TAGGED, DEPTHS)),
        (("tagged products, first |gold|, %", ""), _percents(result, AT_GOLD, ("_tagged",))),
    ]


def _percents(result: Mapping[str, float], rows: Mapping[str, str], columns: Sequence[object]) -> Rows:
    lines = [
        (label, *(_percent(result, key.format(column)) for column in columns)) for label, key in rows.items()
    ]
    return [line for line in lines if set(line[1:]) != {"-"}]


def _with_positives(result: Mapping[str, float], names: Mapping[str, str], columns: Sequence[str]) -> Rows:
    """Rows that end in the number of positives; a part that the result does not know has none."""
    return [
        (
            label,
            *(_percent(result, f"{name}_{column}") for column in columns),
            _number(result[f"{name}_positives"]),
        )
        for label, name in names.items()
        if f"{name}_positives" in result
    ]


def _percent(result: Mapping[str, float], key: str) -> str:
    return f"{100 * result[key]:.1f}" if key in result else "-"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f}"


def _lines(rows: Rows, width: int) -> str:
    lines = (row[0].ljust(width) + "".join(cell.rjust(11) for cell in row[1:]) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
