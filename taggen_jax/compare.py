"""taggen compare: is one system better than another, or are they only different on these products?"""

import dataclasses
import pathlib

from taggen_jax import predictions
from taggen_jax.errors import UserError
from taggen_jax.files import write_json
from taggen_jax.metrics.bootstrap import Difference, Interval, Sample, compare

LABELS = {"micro_f1": "micro-F1", "macro_f1": "macro-F1", "p_at_5": "P@5", "ndcg_at_5": "nDCG@5"}


def run(a: pathlib.Path, b: pathlib.Path, output: pathlib.Path | None = None) -> dict[str, Difference]:
    """Compares the predictions.jsonl of two folders by a paired bootstrap over products; prints a table.

    With `output`, comparison.json in that folder holds the same numbers as fractions.

    Raises:
      UserError: a file is missing, or the two are not about the same products.
    """
    one, other = predictions.pair(a, b)
    if not one:
        raise UserError(f"{a}: its predictions.jsonl is empty; evaluate a split with products in it")
    differences = compare(Sample(one), Sample(other))
    print(f"a: {a}\nb: {b}\n{len(one):,} products, 10,000 resamples, intervals of 95%, in percent\n")
    print(render(differences))
    if output:
        rows = {name: dataclasses.asdict(difference) for name, difference in differences.items()}
        write_json(output / "comparison.json", rows)
    return differences


def render(differences: dict[str, Difference]) -> str:
    """A table: a line for each measure."""
    lines = [f"{'':9}{'a':>22}{'b':>22}{'b - a':>22}{'p':>9}"]
    for name, d in differences.items():
        cells = "".join(f"{_spell(part):>22}" for part in (d.a, d.b, d.difference))
        lines.append(f"{LABELS[name]:9}{cells}{d.p:>9.4f}")
    return "\n".join(lines)


def _spell(interval: Interval) -> str:
    value, low, high = (100 * x for x in dataclasses.astuple(interval))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"
