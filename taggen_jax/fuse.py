"""taggen fuse: several systems' predictions of the same products made into one, weighed on validation."""

import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from taggen_jax import predictions
from taggen_jax.decode import fusion
from taggen_jax.decode.fusion import Fusion
from taggen_jax.errors import UserError
from taggen_jax.files import atomic_write, write_json
from taggen_jax.metrics.evaluate import Evaluation
from taggen_jax.metrics.prediction import Prediction
from taggen_jax.metrics.slices import slice_of
from taggen_jax.metrics.table import render
from taggen_jax.predictions import Answered
from taggen_jax.prepared import Prepared

SHOWN = {
    "micro_f1": "micro-F1",
    "macro_f1": "macro-F1",
    "p_at_5": "P@5",
    "ndcg_at_5": "nDCG@5",
    "tail_recall_at_5": "tail R@5",
}


def run(
    fit: Sequence[str],
    apply: Sequence[str],
    data: pathlib.Path,
    output: pathlib.Path,
    macro_weight: float = 1.0,
) -> None:
    """Learns on the predictions of `fit`, fuses those of `apply`, and says what each system contributes.

    Into `output` go predictions.jsonl, metrics.json, vocabulary.json (for `taggen report`), and fusion.json:
    weights, thresholds, and the scores with every system left out and every one alone.

    Args:
      fit: folders of predictions.jsonl, one a system, of products that none of them was trained on.
      apply: the same systems' folders, in the same order, of the products to answer.
      data: the prepared folder, for the training counts of tags.
      output: folder to write.
      macro_weight: points of micro-F1 that a point of macro-F1 is worth where thresholds are chosen.

    Raises:
      UserError: the folders do not pair up, or are not of the same products.
    """
    if len(fit) != len(apply) or len(fit) < 2:
        raise UserError(
            f"taggen fuse: {len(fit)} --fit and {len(apply)} --apply folders, expected as many of the one as "
            "of the other, and at least two: each system's validation and test predictions, in one order"
        )
    prepared = Prepared(data)
    known, asked = (_together([pathlib.Path(folder) for folder in folders]) for folders in (fit, apply))
    everything = tuple(range(len(fit)))
    learnt, least, evaluation, answers = _fused(known, asked, everything, prepared, macro_weight)
    metrics = evaluation.result()
    with atomic_write(output / predictions.NAME) as file:
        for item, answer in zip(asked[0], answers, strict=True):
            file.write(predictions.to_line(item.id, answer))
    write_json(output / "metrics.json", metrics)
    prepared.vocabulary.save(output / "vocabulary.json")
    print(render(metrics))
    rows = [(everything, metrics)]
    for kept in _parts(len(fit)):
        rows.append((kept, _fused(known, asked, kept, prepared, macro_weight)[2].result()))
    ablations = [
        {"systems": [apply[i] for i in kept], **{key: scores.get(key, 0.0) for key in SHOWN}}
        for kept, scores in rows
    ]
    weights = {
        system: {"weight": learnt.weights_F[i], "rarity_weight": learnt.weights_F[len(fit) + i]}
        for i, system in enumerate(apply)
    }
    write_json(output / "fusion.json", {"weights": weights, "thresholds": least, "ablations": ablations})
    print(
        "\n".join(
            f"weight {of['weight']:6.3f} + {of['rarity_weight']:6.3f} x rarity  {system}"
            for system, of in weights.items()
        )
    )
    print(f"thresholds: {', '.join(f'{name} {value:.3f}' for name, value in least.items())}\n")
    print(_table(ablations))


def _together(folders: Sequence[pathlib.Path]) -> list[list[Answered]]:
    """The systems' answers, each in the order of the first's products."""
    first, *others = (predictions.read(folder) for folder in folders)
    for folder in folders[1:]:
        predictions.pair(folders[0], folder)  # the same products, the same gold tags
    found = [{item.id: item for item in other} for other in others]
    return [first, *([other[item.id] for item in first] for other in found)]


def _parts(systems: int) -> list[tuple[int, ...]]:
    """All systems but one, and each alone."""
    return [
        kept
        for size in dict.fromkeys((systems - 1, 1))
        for kept in itertools.combinations(range(systems), size)
    ]


def _fused(
    known: Sequence[Sequence[Answered]],
    asked: Sequence[Sequence[Answered]],
    kept: Sequence[int],
    prepared: Prepared,
    macro_weight: float,
) -> tuple[Fusion, dict[str, float], Evaluation, list[Prediction]]:
    """What the systems `kept` teach on `known`, thresholds, the answers' scores, and the answers."""

    def slice_name(tag: str) -> str:
        return slice_of(prepared.counts.get(tag, 0))

    products, gold = _scores(known, kept), [frozenset(map(str, item.prediction.gold)) for item in known[0]]
    try:
        fused = fusion.cross_fitted(products, gold, prepared.counts)
        least = fusion.thresholds(fused, gold, slice_name, macro_weight)
        learnt = fusion.fit(products, gold, prepared.counts)
    except ValueError as error:
        raise UserError(f"taggen fuse: --fit: {error}; give predictions of labelled products") from error
    evaluation, answers = Evaluation(prepared.counts, len(prepared.source("train"))), []
    for item, product in zip(asked[0], _scores(asked, kept), strict=True):
        ranked = learnt.apply(product)
        answer = Prediction(
            gold=item.prediction.gold,
            tags=tuple(tag for tag, score in ranked if score >= least.get(slice_name(tag), 0.5)),
            ranked=tuple(tag for tag, _ in ranked),
            scores=tuple(score for _, score in ranked),
            text=item.prediction.text,
            language=item.prediction.language,
        )
        evaluation.add(answer)
        answers.append(answer)
    return learnt, least, evaluation, answers


def _scores(systems: Sequence[Sequence[Answered]], kept: Sequence[int]) -> list[fusion.Product]:
    return [[_ranked(systems[i][row].prediction) for i in kept] for row in range(len(systems[0]))]


def _ranked(prediction: Prediction) -> list[tuple[str, float]]:
    return list(zip(map(str, prediction.ranked), prediction.scores or (), strict=True))


def _table(ablations: Sequence[Mapping[str, Any]]) -> str:
    lines = ["".join(f"{label:>10}" for label in SHOWN.values()) + "  systems"]
    for row in ablations:
        lines.append("".join(f"{100 * row[key]:10.1f}" for key in SHOWN) + f"  {' + '.join(row['systems'])}")
    return "\n".join(lines)
