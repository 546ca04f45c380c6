"""taggen audit-labels: the labels that a model doubts most, for people to judge.

What they judge goes back into the data by `taggen prepare --corrections=FILE`.
"""

import pathlib
from collections.abc import Iterator
from typing import Any

from taggen_jax import predictions
from taggen_jax.catalog import corrections
from taggen_jax.metrics.doubts import doubts
from taggen_jax.predictions import Answered, rounded

COLUMNS = ("id", "tag", "has_tag", "correct", "score", "usual", "text")
LETTERS = 300  # of a product's text


def run(of: pathlib.Path, output: pathlib.Path, most: int = 500) -> int:
    """Writes one row a doubt, the greatest first; returns how many.

    A row holds "id" and "tag"; "has_tag", what the data says now ("yes" or "no"); "correct", empty, for
    people to say "yes" or "no" whether the product should have the tag; "score", the model's; "usual", the
    tag's mean score on the products that have it; and the beginning of the product's "text".

    Args:
      of: folder with the predictions.jsonl of `taggen evaluate` or, better, of `taggen crossval`, whose
        scores are all of models that have not seen the product.
      output: file to write, .csv or .jsonl.
      most: rows about tags that products have, and about ones they lack, at most so many each.

    Raises:
      UserError: there are no predictions, or the output's name says no form.
    """
    answers = predictions.read(of)
    rows = list(_rows(answers, most))
    corrections.write(output, rows, COLUMNS)
    given = sum(row["has_tag"] == "yes" for row in rows)
    print(
        f"{output}: {given:,} tags that may be wrong, {len(rows) - given:,} that may be missing, of"
        f" {len(answers):,} products; fill in the column 'correct' with yes or no, then run"
        f" `taggen prepare --corrections={output}` with the rest as before"
    )
    return len(rows)


def _rows(answers: list[Answered], most: int) -> Iterator[dict[str, Any]]:
    for doubt in doubts([answer.prediction for answer in answers], most):
        answer = answers[doubt.product]
        score, usual = rounded([doubt.score, doubt.usual])
        yield {
            "id": answer.id,
            "tag": doubt.tag,
            "has_tag": "yes" if doubt.given else "no",
            "correct": "",
            "score": score,
            "usual": usual,
            "text": answer.prediction.text[:LETTERS],
        }
