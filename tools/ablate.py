"""Ablations on the demo catalog, every row with the same number of steps: what targets and labels are worth.

    python -m tools.ablate --study=targets --output=runs/ablate [--steps=300]
    python -m tools.ablate --study=labels --output=runs/ablate [--steps=300] [--shares=1,10,25,100]

Prints a JSON line a row, scored on validation, and draws OUTPUT/STUDY.svg. A row that is finished is read
from OUTPUT/STUDY/ROW/metrics.json, so an interrupted study goes on.

"targets": the order of tags, their number first (`tags.size_prefix`), and the tag head beside the decoder
(`train.tag_loss`; the lists are the decoder's all the same).
"labels": a share of the training groups keeps its tags. "alone" trains on these; "denoising" restores the
text of all products in half of the steps' examples; "pseudo-labels" trains anew on what "alone" is sure of.
"""

import argparse
import dataclasses
import json
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from taggen_jax import demo, evaluate, generate, prepare, pseudo, train
from taggen_jax.catalog import demo as catalog
from taggen_jax.catalog.product import Product
from taggen_jax.catalog.readers import CatalogConfig
from taggen_jax.catalog.splits import SplitConfig, split_of
from taggen_jax.data.corruption import DenoiseConfig
from taggen_jax.experiment import Experiment
from taggen_jax.files import atomic_write

MEASURES = {"micro_f1": "micro-F1", "macro_f1": "macro-F1", "p_at_5": "P@5", "exact_match": "exact match"}

Metrics = Mapping[str, float]
Row = dict[str, Any]


def base(steps: int) -> Experiment:
    """The demo's experiment, ready to restore texts, too."""
    plain = demo.experiment()
    tokenizer = dataclasses.replace(plain.tokenizer, sentinels=32)
    training = dataclasses.replace(plain.train, steps=steps)
    bare = dataclasses.replace(plain.preflight, max_untagged_share=1.0)  # denoising reads untagged products
    return dataclasses.replace(
        plain, tokenizer=tokenizer, train=training, catalog=CatalogConfig(), preflight=bare
    )


def with_tags(experiment: Experiment, **changes: Any) -> Experiment:
    return dataclasses.replace(experiment, tags=dataclasses.replace(experiment.tags, **changes))


def files(folder: pathlib.Path, products: Iterable[Product], share: float) -> dict[str, str]:
    """The catalog as JSON lines: labelled, unlabelled (training groups without their tags), validation."""
    rows: dict[str, list[Product]] = {"labelled": [], "unlabelled": [], "validation": []}
    for product in products:
        split = split_of(product, SplitConfig())
        if split == "validation":
            rows["validation"].append(product)
        elif split == "train":
            # Another salt than that of the splits: which groups are labelled does not depend on these.
            kept = split_of(product, SplitConfig(test=share, validation=0.0, salt="labels")) == "test"
            bare = dataclasses.replace(product, tags=(), complete=False)
            rows["labelled" if kept else "unlabelled"].append(product if kept else bare)
    for name, part in rows.items():
        with atomic_write(folder / f"{name}.jsonl") as file:
            file.writelines(json.dumps(dataclasses.asdict(product)) + "\n" for product in part)
    return {name: str(folder / f"{name}.jsonl") for name in rows}


def scored(
    experiment: Experiment, folder: pathlib.Path, train_files: Sequence[str], validation: str
) -> Metrics:
    """Prepares, trains and scores one row, unless that is done."""
    if (done := folder / "metrics.json").exists():
        return json.loads(done.read_text(encoding="utf-8"))
    if not (folder / "data").exists():
        prepare.run(experiment, folder / "data", train=list(train_files), validation=[validation])
    train.run(experiment, folder / "data", folder / "workdir")
    return evaluate.run(folder / "workdir", folder / "data", "validation", folder)


def targets(experiment: Experiment, folder: pathlib.Path, shares: Sequence[float]) -> Iterator[Row]:
    """Rows on all labels; `shares` are those of the other study."""
    head = dataclasses.replace(experiment.train, tag_loss=1.0)
    rows = {
        "frequent first": experiment,
        "text order": with_tags(experiment, order="text"),
        "shuffled": with_tags(experiment, order="shuffled"),
        "frequent first, size before": with_tags(experiment, size_prefix=True),
        "frequent first, tag loss": dataclasses.replace(experiment, train=head),
    }
    paths = files(folder, catalog.products(), 1.0)
    for name, changed in rows.items():
        row = folder / name.replace(", ", "_").replace(" ", "-")
        yield {"row": name, **scored(changed, row, [paths["labelled"]], paths["validation"])}


def labels(experiment: Experiment, folder: pathlib.Path, shares: Sequence[float]) -> Iterator[Row]:
    """Three rows a share of labels, in percent."""
    denoise = dataclasses.replace(experiment.stream, denoise=DenoiseConfig(rate=0.5))
    for share in shares:
        here = folder / f"{share:g}"
        paths = files(here, catalog.products(), share / 100)
        labelled, validation = paths["labelled"], paths["validation"]
        alone = scored(experiment, here / "alone", [labelled], validation)
        yield {"row": "alone", "share": share, **alone}
        both = [labelled, paths["unlabelled"]]
        restoring = dataclasses.replace(experiment, stream=denoise)
        yield {
            "row": "denoising",
            "share": share,
            **scored(restoring, here / "denoising", both, validation),
        }
        if pathlib.Path(paths["unlabelled"]).stat().st_size:
            more = _pseudo(here, paths["unlabelled"])
            again = scored(experiment, here / "pseudo", [labelled, more], validation)
            yield {"row": "pseudo-labels", "share": share, **again}


def _pseudo(here: pathlib.Path, unlabelled: str) -> str:
    more, workdir = here / "pseudo.jsonl", here / "alone" / "workdir"
    if not more.exists():
        generate.run(workdir, [unlabelled], here / "tagged")
        pseudo.run(workdir, [unlabelled], here / "tagged", more)
    return str(more)


STUDIES: dict[str, Callable[[Experiment, pathlib.Path, Sequence[float]], Iterator[Row]]] = {
    "targets": targets,
    "labels": labels,
}


def draw(study: str, rows: Sequence[Row], path: pathlib.Path) -> None:
    """Bars of two measures a row; or micro-F1 by share of labels, a line a way to train."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    with matplotlib.rc_context({"svg.hashsalt": "taggen", "font.size": 9}):
        figure, axes = pyplot.subplots(figsize=(5.6, 2.8), layout="constrained")
        names = list(dict.fromkeys(row["row"] for row in rows))
        if study == "labels":
            for name in names:
                points = [(row["share"], row["micro_f1"]) for row in rows if row["row"] == name]
                axes.plot(*zip(*points, strict=True), marker="o", label=name)
            axes.set(xscale="log", xlabel="labelled training groups, %", ylabel="micro-F1 on validation")
        else:
            for i, key in enumerate(("micro_f1", "macro_f1")):
                places = [place + 0.4 * i for place in range(len(rows))]
                axes.barh(places, [row[key] for row in rows], 0.38, label=MEASURES[key])
            axes.set_yticks([place + 0.2 for place in range(len(rows))], names)
            axes.invert_yaxis()
            axes.set(xlabel="on validation")
        axes.legend()
        figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Reads the flags, runs a study, prints its rows and draws them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--study", choices=sorted(STUDIES), required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True, help="folder for runs and pictures")
    parser.add_argument("--steps", type=int, default=300, help="of every row")
    parser.add_argument("--shares", default="1,10,25,100", help="of labels, in percent")
    args = parser.parse_args()
    shares = [float(share) for share in args.shares.split(",")]
    rows, start = [], time.monotonic()
    for row in STUDIES[args.study](base(args.steps), args.output / args.study, shares):
        rows.append(row)
        kept = {key: value for key, value in row.items() if key in {"row", "share", *MEASURES}}
        seconds = round(time.monotonic() - start)
        print(json.dumps({"study": args.study, "steps": args.steps, "seconds": seconds, **kept}), flush=True)
        draw(args.study, rows, args.output / f"{args.study}.svg")


if __name__ == "__main__":
    main()
