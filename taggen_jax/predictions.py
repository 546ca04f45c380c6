"""The predictions.jsonl that evaluation leaves: one product's answer a line, written once and read often."""

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from taggen_jax.errors import UserError
from taggen_jax.metrics.prediction import Prediction

NAME = "predictions.jsonl"


@dataclasses.dataclass(frozen=True)
class Answered:
    """A product that was tagged and has gold tags to compare with."""

    id: str
    prediction: Prediction


def to_line(id: str, prediction: Prediction, **more: Any) -> str:
    """One line: "id"; "tags", the answer, best first, with "scores"; "gold"; "candidates", the longer ranking
    that the measures at k look at, as [tag, score] pairs; "language", where it is known; "duplicates", where
    repeats were dropped; "text".
    """
    scores = dict(zip(prediction.ranked, rounded(prediction.scores or ()), strict=True))
    line: dict[str, Any] = {
        "id": id,
        "tags": prediction.tags,
        "scores": [scores[tag] for tag in prediction.tags],
        "gold": prediction.gold,
        "candidates": list(scores.items()),
    }
    if prediction.language:
        line["language"] = prediction.language
    if prediction.duplicates:
        line["duplicates"] = prediction.duplicates
    return json.dumps({**line, "text": prediction.text, **more}, ensure_ascii=False) + "\n"


def read(folder: pathlib.Path) -> list[Answered]:
    """What `taggen evaluate` (or `crossval`) wrote into a folder.

    Raises:
      UserError: there is no such file, or a line of it is none of ours.
    """
    path = folder / NAME
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; run `taggen evaluate` first, or name the folder that it wrote"
        )
    with path.open(encoding="utf-8") as file:
        return [_parse(line, f"{path}:{number}") for number, line in enumerate(file, 1)]


def pair(a: pathlib.Path, b: pathlib.Path) -> tuple[list[Prediction], list[Prediction]]:
    """The predictions of two folders for the same products, in one order.

    Raises:
      UserError: they are not of the same products, or not of the same gold tags.
    """
    one, other = ({item.id: item.prediction for item in read(folder)} for folder in (a, b))
    if one.keys() != other.keys():
        odd = sorted(one.keys() ^ other.keys())
        raise UserError(
            f"{a} and {b}: {len(odd):,} products are in one of them only, as {odd[0]!r}; compare systems "
            "on the same split of the same data"
        )
    for id in one:
        if set(one[id].gold) != set(other[id].gold):
            raise UserError(
                f"{a} and {b}: the gold tags of product {id!r} differ; compare systems on the same data"
            )
    return list(one.values()), [other[id] for id in one]


def rounded(scores: Iterable[float]) -> list[float]:
    """To the six decimals that are written to files."""
    return [round(score, 6) for score in scores]


def _parse(text: str, where: str) -> Answered:
    try:
        line: Mapping[str, Any] = json.loads(text)
        ranked = line["candidates"]
        prediction = Prediction(
            gold=tuple(line["gold"]),
            tags=tuple(line["tags"]),
            ranked=tuple(tag for tag, _ in ranked),
            scores=tuple(float(score) for _, score in ranked),
            text=line.get("text", ""),
            language=line.get("language", ""),
            duplicates=line.get("duplicates", 0),
        )
        return Answered(line["id"], prediction)
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{where}: not a line of an evaluation ({type(error).__name__}: {error}); evaluate again"
        ) from error
