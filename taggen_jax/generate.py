"""taggen generate: catalog files in, one line of tags for every product out; killed at any time, it goes on.

The story of a job that several processes may share, each of them running this program:

    fingerprint   what the output will depend on; a job that was begun with another one is refused
    plan          one process reads the input through: rows, repeated ids, the cut into shards
    shards        each process claims one after another, tags its products, commits it
    merge         one process makes one file of all shards
"""

import collections
import functools
import itertools
import json
import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from taggen_jax import __version__, offers
from taggen_jax import config as configs
from taggen_jax.batch.fingerprint import digest, digests
from taggen_jax.batch.formats import WRITERS
from taggen_jax.batch.job import PREDICTIONS, QUARANTINE, Job
from taggen_jax.batch.plan import Plan, Reader, survey
from taggen_jax.batch.reuse import content, earlier
from taggen_jax.calibrated import Finish, finisher
from taggen_jax.catalog.clean import cleaner
from taggen_jax.catalog.product import Product, source_text
from taggen_jax.catalog.quarantine import Quarantine
from taggen_jax.catalog.readers import expand
from taggen_jax.data import buckets
from taggen_jax.decode.inclusion import Tagged
from taggen_jax.experiment import Experiment, load
from taggen_jax.files import atomic_write
from taggen_jax.governed import Governance, govern, governance
from taggen_jax.models.family import source_config
from taggen_jax.parallel import hosts
from taggen_jax.parallel.lead import Lead
from taggen_jax.predictions import rounded
from taggen_jax.runs.workdir import trained
from taggen_jax.signals import Stop
from taggen_jax.tagger import Tagger, best_step, open_workdir
from taggen_jax.terminal import Work

SETTINGS = ("text", "catalog", "clean", "tags", "model", "compute", "generate")  # what rows depend on

Row = dict[str, Any]
Answer = Callable[[Tagged], Row]
Search = Callable[[Iterable["Encoded"]], Iterator[tuple[int, Tagged]]]  # numbers from 0, in any order


class Encoded(NamedTuple):
    """A product on its way: its id, what the model reads, and whether some of its text had to be left out."""

    id: str
    source: list[int]
    truncated: bool
    set: int  # the number of the set of tags that it may have
    content: str  # a hash of all that its tags depend on


def run(
    workdir: pathlib.Path,
    input: Sequence[str],
    output: pathlib.Path,
    strict: bool = False,
    format: str = "jsonl",
    shard_rows: int = 4096,
    previous: pathlib.Path | None = None,
    experiment: Experiment | None = None,
) -> int:
    """Writes predictions, quarantine.jsonl and manifest.json into `output`; returns the number of products.

    A row of predictions holds "id"; "tags", best first; "scores", the inclusion probability of each;
    "proposed", those of the tags that the governed vocabulary lacks, where a search is open and finds some;
    "truncated": true where the product's text was longer than the model reads; and "content", a hash of
    what it read. Products keep their input order. The same call in other processes, at the same time or
    after this one was killed, shares the work. The processes of one `jax.distributed` job hold one model,
    cut over the config's mesh, and count as one process here.

    Args:
      workdir: a trained one.
      input: catalog files or patterns.
      output: folder of the job, on a file system that all its processes see; see `batch.job`.
      strict: stop at the first bad row, before anything is generated.
      format: "jsonl" or "parquet".
      shard_rows: rows between two commits; what a killed process loses is at most so much work.
      previous: output of an earlier job with the same model and settings; products that read as they did
        then, and may be given the same tags, keep theirs: as if they were tagged again.
      experiment: the workdir's config with changes; None takes it as it is.

    Raises:
      UserError: the workdir is incomplete, a file cannot be read, `output` holds another job, or, with
        `strict`, a row is bad.
      SystemExit: 143, on SIGTERM; the shard at hand is given up, by all processes of a run.
    """
    paths = expand(input)
    experiment = experiment or load(trained(workdir).config)
    step = best_step(workdir, experiment)
    marks = fingerprint(workdir, step, experiment)
    marks |= {"input": digests(paths), "format": format, "shard_rows": shard_rows}
    with Job(output, marks) as job:
        plan = job.plan(lambda: survey(paths, experiment.catalog, shard_rows, strict=strict))
        # The processes of one run look at about the same time, and have to see the same.
        if hosts.any_of(bool(job.missing(plan))):
            _work(job, plan, workdir, step, experiment, previous)
        manifest = job.merge(plan, f"predictions.{format}", WRITERS[format])
    counts = _counts(manifest["shards"])
    if hosts.first():
        print(
            f"{counts['products']:,} products tagged, {counts['truncated']:,} of them cut to the model's "
            f"length; {counts['bad']:,} rows quarantined: {output}"
        )
    return counts["products"]


def fingerprint(workdir: pathlib.Path, step: int, experiment: Experiment) -> dict[str, Any]:
    """What predictions depend on besides the input: the parts of the workdir by content, and the settings."""
    parts = trained(workdir)
    settings = configs.to_dict(experiment)
    subsets = settings["generate"].pop("subsets")  # the content counts, not the name
    forbidden, withheld = (settings["generate"].pop(name) for name in ("forbidden", "withheld"))
    return {
        "taggen": __version__,
        "step": step,
        "weights": digest(parts.checkpoints / str(step) / "state"),
        "tokenizer": digest(parts.tokenizer),
        "vocabulary": digest(parts.vocabulary),
        "thesaurus": digest(parts.thesaurus) if parts.thesaurus.exists() else None,
        "subsets": digest(pathlib.Path(subsets)) if subsets else None,
        "forbidden": forbidden,
        "withheld": withheld,
        "calibration": digest(parts.calibration) if parts.calibration.exists() else None,
        "settings": {name: settings[name] for name in SETTINGS}
        | {"stream": {"source_length": experiment.stream.source_length}},
    }


def _work(
    job: Job,
    plan: Plan,
    workdir: pathlib.Path,
    step: int,
    experiment: Experiment,
    previous: pathlib.Path | None,
) -> None:
    """Commits shards until none is missing. Of the processes of one run the first does that; all search."""
    _, tagger, params = open_workdir(workdir, experiment, step)
    with Stop() as stop, Lead(stop) as lead:
        if not hosts.first():
            for shard in lead.follow(functools.partial(_batch, (), experiment=experiment)):
                collections.deque(tagger.tag(params, shard), maxlen=0)
            return
        rules = governance(workdir, experiment)
        finish = govern(finisher(workdir, experiment, step), rules)
        answer = functools.partial(_answer, finish=finish, rules=rules)
        known = earlier(previous, job.fingerprint) if previous else {}
        offered = offers.digests(workdir, experiment, tagger.spelling, rules)

        def search(products: Iterable[Encoded]) -> Iterator[tuple[int, Tagged]]:
            return tagger.tag(params, lead.share(batches(products, experiment)))

        def tagged(products: Iterable[Product]) -> Iterator[Row]:
            encoded = encode(products, experiment, tagger, offered)
            return predict(_unless(stop, encoded), search, answer, known)

        _commit(job, plan, Reader(plan, experiment.catalog), tagged, stop)
    lengths = ", ".join(map(str, sorted(tagger.lengths)))
    print(
        f"programs compiled: {len(tagger.lengths)}, for sources of {lengths or 'no'} tokens", file=sys.stderr
    )


def _commit(
    job: Job,
    plan: Plan,
    reader: Reader,
    tagged: Callable[[Iterable[Product]], Iterator[Row]],
    stop: Stop,
) -> None:
    """Claims, writes and commits one shard after another."""

    def done() -> int:
        return sum(plan.products) - sum(plan.products[shard] for shard in job.missing(plan))

    with Work("generate", "products", sum(plan.products), done()) as work:
        for shard in job.claimed(plan, pause=stop.check):
            before, counts = done(), collections.Counter(products=0, truncated=0)
            with (
                Quarantine(job.part(shard, QUARANTINE)) as quarantine,
                atomic_write(job.part(shard, PREDICTIONS)) as file,
            ):
                for row in tagged(reader.products(shard, quarantine)):
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
                    counts.update(products=1, truncated="truncated" in row)
                    work.show(before + counts["products"])
            job.commit(shard, {**counts, "quarantined": dict(quarantine.counts)})
            work.line(f"shard {shard + 1} of {plan.shards}")


def _unless(stop: Stop, products: Iterable[Encoded]) -> Iterator[Encoded]:
    """The products, until the shard is to be given up."""
    for product in products:
        stop.check()
        yield product


def predict(
    products: Iterable[Encoded], search: Search, answer: Answer, known: Mapping[str, Row]
) -> Iterator[Row]:
    """The row of each product, in order; what is known by its content is not searched again."""
    waiting: collections.deque[Encoded] = collections.deque()

    def unknown() -> Iterator[Encoded]:
        for product in products:
            waiting.append(product)
            if product.content not in known:
                yield product

    def reused() -> Iterator[Row]:
        while waiting and waiting[0].content in known:
            product = waiting.popleft()
            yield _row(product, known[product.content])

    for _, found in buckets.in_order(search(unknown())):
        yield from reused()
        yield _row(waiting.popleft(), answer(found))
    yield from reused()


def _answer(found: Tagged, finish: Finish, rules: Governance | None) -> Row:
    tagged = finish(found)
    proposed = rules.proposals(tagged.tags) if rules else []
    new = {"proposed": proposed} if proposed else {}
    mass = {} if tagged.legal_mass is None else {"legal_mass": float(f"{tagged.legal_mass:.6g}")}
    return {"tags": tagged.tags, "scores": rounded(tagged.scores), **new, **mass}


def _row(product: Encoded, answer: Mapping[str, Any]) -> Row:
    """What is written of a product; `answer` may be an earlier row of one that reads the same."""
    cut = {"truncated": True} if product.truncated else {}
    answer = {key: answer.get(key) for key in ("tags", "scores", "proposed", "legal_mass")}
    answer = {key: value for key, value in answer.items() if value is not None}
    return {"id": product.id, **answer, **cut, "content": product.content}


def _counts(shards: list[dict[str, Any]]) -> collections.Counter[str]:
    """What became of the input's rows."""
    counts = collections.Counter[str]()
    for entry in shards:
        counts.update(products=entry["products"], truncated=entry["truncated"])
        counts.update(bad=sum(entry["quarantined"].values()))
    return counts


def encode(
    products: Iterable[Product], experiment: Experiment, tagger: Tagger, offered: Sequence[str]
) -> Iterator[Encoded]:
    """Cleans and tokenizes products exactly as `taggen prepare` does; `offered` are `offers.digests`."""
    tokenizer, subsets = tagger.tokenizer, tagger.subsets
    clean, length = cleaner(experiment.clean), experiment.stream.source_length
    stream = iter(products)
    while chunk := list(itertools.islice(stream, 256)):
        texts = [source_text(clean(product), experiment.text) for product in chunk]
        for product, pieces in zip(chunk, tokenizer.pieces(texts), strict=True):
            number = subsets.number(product) if subsets else 0
            source, cut = tokenizer.cut(pieces, length), tokenizer.cuts(pieces, length)
            yield Encoded(product.id, source, cut, number, content(source, offered[number]))


def batches(products: Iterable[Encoded], experiment: Experiment) -> Iterator[Mapping[str, np.ndarray]]:
    """Batches of products of like length; "row" is a product's number in the stream."""
    step, longest = experiment.generate.bucket, experiment.stream.source_length

    def bucket(numbered: tuple[int, Encoded]) -> int:
        return buckets.padded(len(numbered[1].source), step, longest)

    for length, group in buckets.grouped(enumerate(products), bucket, experiment.generate.batch_size):
        yield _batch(group, length, experiment)


def _batch(
    group: Sequence[tuple[int, Encoded]], length: int, experiment: Experiment
) -> Mapping[str, np.ndarray]:
    """A short group is filled up with rows of weight 0, which read an empty product."""
    B = experiment.generate.batch_size
    source_BS = np.full((B, length), source_config(experiment.model).pad, np.int32)
    source_BS[len(group) :, 0] = experiment.model.eos
    row_B, set_B = np.zeros(B, np.int32), np.zeros(B, np.int32)
    for i, (row, product) in enumerate(group):
        source_BS[i, : len(product.source)] = product.source
        row_B[i], set_B[i] = row, product.set
    weight_B = (np.arange(B) < len(group)).astype(np.float32)
    return {"source": source_BS, "row": row_B, "weight": weight_B, "set": set_B}
