"""taggen train: from prepared data to a workdir with checkpoints; run again, it goes on where it stopped."""

import dataclasses
import functools
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from flax import traverse_util
from jax.sharding import Mesh

from taggen_jax import experiment as experiments
from taggen_jax import governed, pretrained, subsets
from taggen_jax.catalog.vocabulary import Vocabulary
from taggen_jax.costs.chips import PEAKS
from taggen_jax.data import store
from taggen_jax.data.examples import Batch
from taggen_jax.data.packing import BEGIN, Place
from taggen_jax.data.stream import blank
from taggen_jax.data.tokenizer import Tokenizer
from taggen_jax.errors import UserError
from taggen_jax.evaluate import describe, score
from taggen_jax.experiment import Experiment
from taggen_jax.governed import governance
from taggen_jax.metrics.prediction import Prediction
from taggen_jax.models import family
from taggen_jax.models.family import Bundle, Params
from taggen_jax.parallel import hosts
from taggen_jax.parallel.mesh import check_batch, check_cut, make_mesh, put_batch, put_share
from taggen_jax.prepared import Prepared
from taggen_jax.runs import base, encoded
from taggen_jax.runs.checkpoints import Checkpoints
from taggen_jax.runs.logs import Log, means
from taggen_jax.runs.profile import Profile
from taggen_jax.runs.speed import Speed
from taggen_jax.runs.summary import Clock, state_sha256, summarised, write_summary
from taggen_jax.runs.watch import Spoiled, Watch
from taggen_jax.runs.workdir import Workdir
from taggen_jax.signals import TERMINATED, Stop
from taggen_jax.tagger import Tagger, build
from taggen_jax.training import encoder, lora
from taggen_jax.training.flops import model_flops
from taggen_jax.training.state import adopt_params, create_state, restorable, state_shardings
from taggen_jax.training.step import TrainConfig, Training, jit_step, within
from taggen_jax.training.thaw import thaw, thaws, training_at

# Settings that a prepared folder was made with: with another value the model would read other text.
OF_THE_DATA = (
    "text",
    "clean.",
    "tokenizer.",
    "tags.lower_case",
    "tags.synonyms",
    "tags.separator",
    "tags.vocabulary",
    "tags.language",
    "tags.unknown",
)
MAY_CHANGE = (
    *("train.steps", "train.eval_", "train.save_every", "train.non_finite", "train.spike", "train.rollbacks"),
    *("log.", "checkpoints.", "mesh.", "generate."),
)


def run(experiment: Experiment, data: pathlib.Path, workdir: pathlib.Path, profile: str = "") -> None:
    """Trains from the latest checkpoint in `workdir`, or from the beginning, to `train.steps`.

    Args:
      profile: "FIRST:LAST", the steps to trace.

    Raises:
      UserError: data and config do not fit, or the workdir belongs to another experiment.
    """
    subsets.refuse(experiment.generate.subsets)
    prepared, work, cfg = Prepared(data), Workdir(workdir), experiment.train
    profiler = Profile(work.profile, profile)
    mesh = make_mesh(experiment.mesh)
    check_batch(
        experiment.stream.batch_size // cfg.accumulation, mesh, "stream.batch_size / train.accumulation"
    )
    if hosts.first():
        _adopt(experiment, prepared, work)
    hosts.wait("workdir")
    bundle = lora.adapt(build(experiment, prepared.vocabulary), cfg.lora)
    check_cut(bundle.shapes, bundle.axes, mesh)
    checkpoints = Checkpoints(work.checkpoints, experiment.checkpoints, writing=True)
    back: Spoiled | None = None
    while True:
        try:
            return _session(experiment, prepared, work, mesh, bundle, checkpoints, profiler, back)
        except Spoiled as error:
            if cfg.non_finite != "roll_back" or error.times > cfg.rollbacks:
                raise
            checkpoints.wait()  # the newest one may still be on its way to the disk
            back = error.with_traceback(None)  # which holds the arrays of the session that ended


def _session(
    experiment: Experiment,
    prepared: Prepared,
    work: Workdir,
    mesh: Mesh,
    bundle: Bundle,
    checkpoints: Checkpoints,
    profiler: Profile,
    back: Spoiled | None,
) -> None:
    """Trains from the newest checkpoint on. After a rollback, `back`, the data go on behind what spoiled it.

    Raises:
      Spoiled: the run cannot go on from here.
    """
    cfg = experiment.train
    names = functools.partial(pretrained.names, prepared, experiment)
    training, state, first, place, meta = _begin(bundle, cfg, mesh, checkpoints, work, names)
    clock, watch = Clock.resume(meta.get("clock", {})), Watch(cfg.spike, meta.get("watch", {}))
    if first >= cfg.steps:
        if not summarised(work, first):  # killed after its last checkpoint
            write_summary(work, state, clock, watch)
        if hosts.first():
            print(f"{work.root}: already trained for {first} steps; raise train.steps to go on")
        return
    beside = {"base": meta["base"] if first else base.keep(work, state["params"])} if cfg.lora.rank else {}
    if back:
        place, watch.rolled_back = back.place, back.times
    train_step = jit_step(training, state_shardings(training, mesh), mesh)
    batches = prepared.train_batches(experiment, place, mesh)
    evaluations = _evaluations(experiment, prepared, training, mesh, work)
    feed = _feed(experiment, prepared, training, state["params"], mesh, work)
    peak, flops = _computing(experiment, prepared, training)
    window, speed = meta.get("window", {}), Speed(clock.goodput, peak=peak)
    agreed = hosts.Agreement()
    where: dict[str, Any] = {"steps": cfg.steps, "first": first, "window": window}
    with Log(work, experiment.log, speed, watch, **where) as log, Stop() as stop:
        log.say(f"{back.reason}; rolled back" if back else report(training, first))
        for step in range(first + 1, cfg.steps + 1):
            if thaws(cfg, step - 1):
                training, state = thaw(training, state, mesh, step - 1)
                train_step = jit_step(training, state_shardings(training, mesh), mesh)
                feed = _feed(experiment, prepared, training, state["params"], mesh, work)
                log.say(report(training, step - 1))
            profiler.before(step)
            with speed.waiting():
                batch = feed(next(batches))
            watch.expect(step, batches.place)
            state, sums = train_step(state, put_share(batch, mesh))
            log.defer(step, sums, flops(batch["source"].shape[1]))
            if written := profiler.after(step, sums):
                log.say(written)
            stopping, metrics = agreed(stop.asked), None
            if due(step, cfg.eval_every, cfg.steps):
                with log.aside():
                    metrics, samples = evaluations(state["params"])
                log.write(step, {f"validation/{name}": value for name, value in metrics.items()})
                log.show(step, "validation/products", describe(samples))
            if metrics or due(step, cfg.save_every, cfg.steps) or stopping:
                meta = {"window": log.window(), "clock": clock.saved(), "watch": watch.saved()} | beside
                with log.aside():
                    saved = {**state, "params": lora.own(state["params"])}
                    checkpoints.save(step, saved, batches.place.saved(), meta, metrics)
            if stopping and step < cfg.steps:
                checkpoints.close()
                log.say(
                    f"stopped by SIGTERM after step {step}, which is saved; run the same command to go on"
                )
                raise SystemExit(TERMINATED)
    checkpoints.close()
    write_summary(work, state, clock, watch)


def due(step: int, every: int, last: int) -> bool:
    """Whether something that happens every so many steps (0: only at the end) happens after this one."""
    return step == last or (every > 0 and step % every == 0)


def report(training: Training, first: int) -> str:
    """What trains, what is frozen, and where the run begins."""
    trainable, frozen = jax.eval_shape(training.partition.split, training.bundle.shapes)
    trains, stays = (sum(leaf.size for leaf in half.values()) for half in (trainable, frozen))
    folder = training.config.pretrained
    begin = f"from {folder}" if folder else "from random initialisation"
    begin = f"from step {first} on" if first else begin
    return f"{trains:,} parameters train, {stays:,} are frozen; {begin}"


def _computing(
    experiment: Experiment, prepared: Prepared, training: Training
) -> tuple[float, Callable[[int], float]]:
    """FLOP/s at most, and source length -> FLOPs of a step of what trains as the session begins; 0 where
    nobody knows."""
    device = jax.devices()[0]
    peak = jax.device_count() * (experiment.log.peak_flops or PEAKS.get(device.device_kind, 0.0))
    if not peak or experiment.train.cache_encoder:  # then a step computes less than the formula says
        return 0.0, lambda source_length: 0.0
    compute = dataclasses.replace(experiment.compute, remat="none")
    bundle = build(dataclasses.replace(experiment, compute=compute), prepared.vocabulary)
    bundle = lora.adapt(bundle, experiment.train.lora)

    @functools.cache
    def flops(source_length: int) -> float:
        batch = blank(dataclasses.replace(experiment.stream, source_length=source_length, buckets=()))
        return model_flops(bundle, training.partition, experiment.train, batch)

    return peak, flops


def _adopt(experiment: Experiment, prepared: Prepared, work: Workdir) -> None:
    """Makes the workdir self-contained, or checks that it belongs to this experiment and this data."""
    unlike = [
        line
        for line in experiments.differences(prepared.experiment, experiment)
        if line.startswith(OF_THE_DATA)
    ]
    if unlike:
        raise UserError(
            f"{prepared.root}: prepared with another config ({'; '.join(unlike)}); prepare it anew"
        )
    _check_ids(experiment.model, prepared.tokenizer(experiment.tags.separator), prepared.root)
    if not work.config.exists():
        shutil.copytree(prepared.tokenizer_folder, work.tokenizer, dirs_exist_ok=True)
        prepared.vocabulary.save(work.vocabulary)
        if (thesaurus := prepared.root / governed.NAME).exists():
            shutil.copyfile(thesaurus, work.thesaurus)
        experiments.save(experiment, work.config)  # last: its presence says that the others are whole
        return
    changed = [
        line
        for line in experiments.differences(experiments.load(work.config), experiment)
        if not line.startswith(MAY_CHANGE)
    ]
    if changed:
        raise UserError(
            f"{work.root}: this workdir was begun with another config ({'; '.join(changed)}); "
            "restore these settings to resume, or give a new workdir"
        )
    if Vocabulary.load(work.vocabulary) != prepared.vocabulary:
        raise UserError(
            f"{work.root}: begun with other data than {prepared.root}; give that data, or a new workdir"
        )
    experiments.save(experiment, work.config)


def _check_ids(model: family.ModelConfig, tokenizer: Tokenizer, root: pathlib.Path) -> None:
    """Raises a UserError where the model and the tokenizers would not mean the same by an id."""
    source = family.source_config(model)
    for what, vocab_size, size in (
        ("to read", source.vocab_size, tokenizer.size),
        ("to write", model.vocab_size, tokenizer.tags.size),
    ):
        if vocab_size < size:
            raise UserError(
                f"model.vocab_size={vocab_size} {what} is less than the {size} ids of the tokenizer in "
                f"{root}; raise it"
            )
    for name, ours, theirs in (
        ("pad to read", source.pad, tokenizer.pad),
        ("pad", model.pad, tokenizer.tags.pad),
        ("eos", model.eos, tokenizer.tags.eos),
    ):
        if ours != theirs:
            raise UserError(
                f"model: {name} is {ours}, but the tokenizer in {root} has {theirs}; set it to that"
            )


def _begin(
    bundle: Bundle,
    cfg: TrainConfig,
    mesh: Mesh,
    checkpoints: Checkpoints,
    work: Workdir,
    names: Callable[[], np.ndarray],
) -> tuple[Training, Any, int, Place, dict[str, Any]]:
    """What trains, the state to start from, the steps behind it, where the data stand; what log and clock
    left."""

    def at(step: int) -> Training:
        # A checkpoint holds what trained up to its step; what thaws just then thaws in the loop.
        return training_at(bundle, cfg, max(0, step - 1))

    def like(step: int) -> Any:
        whole = restorable(at(step), mesh)
        return {**whole, "params": lora.own(whole["params"])}

    saved = checkpoints.restore_newest(like, work.damaged)
    if saved:
        step, state, data, meta = saved
        if cfg.lora.rank:
            whole = restorable(at(step), mesh)["params"]
            state = {**state, "params": base.beside(work, whole, state["params"], meta["base"])}
        return at(step), state, step, Place.restore(data), meta
    training = at(0)
    if cfg.pretrained:
        return training, adopt_params(training, mesh, pretrained.params(training, mesh, names)), 0, BEGIN, {}
    return training, create_state(training, mesh), 0, BEGIN, {}


def _feed(
    experiment: Experiment, prepared: Prepared, training: Training, params: Params, mesh: Mesh, work: Workdir
) -> Callable[[Batch], Batch]:
    """batch -> what the step takes: with the encoder's outputs where they are cached, else as it is."""
    bundle = training.bundle
    if not experiment.train.cache_encoder or encoder.trains(bundle, training.partition):
        return lambda batch: batch
    if experiment.stream.denoise.rate or experiment.stream.field_dropout:
        raise UserError(
            "train.cache_encoder: denoising and field dropout read another text every time; set it to False"
        )
    if experiment.stream.packing > 1:
        raise UserError(
            f"train.cache_encoder: outputs are cached product by product, but a row holds several of them "
            f"(stream.packing={experiment.stream.packing}); set one of the two back"
        )
    if jax.process_count() > 1:
        raise UserError("train.cache_encoder: got several processes, expected one; set it to False")
    rows, size = len(prepared.source("train")), experiment.stream.batch_size
    run = within(jax.jit(functools.partial(encoder.encode, bundle)), mesh)
    source_BS = jax.ShapeDtypeStruct((size, experiment.stream.source_length), np.int32)
    memory_BSD = jax.eval_shape(functools.partial(encoder.encode, bundle), bundle.shapes, source_BS)
    flat = traverse_util.flatten_dict(params, sep="/")
    identity = encoded.identity(
        (rows, *memory_BSD.shape[1:]),
        memory_BSD.dtype,
        parameters=state_sha256({path: flat[path] for path in encoder.reads(bundle)}),
        rows=store.split_sha256(prepared.root, "train"),
    )

    def outputs() -> Iterator[np.ndarray]:
        print(f"{work.encoded}: the encoder reads {rows:,} products, once")
        batches = prepared.eval_batches(experiment, "train", size)
        return _ahead(run(params, put_batch(batch, mesh)["source"]) for batch in batches)

    memory_NSD = encoded.stored(work.encoded, identity, outputs)

    def looked_up(batch: Batch) -> Batch:  # what lies behind the length of its bucket is padding
        return batch | {"memory": np.asarray(memory_NSD[batch["row"], : batch["source"].shape[1]])}

    return looked_up


def _evaluations(
    experiment: Experiment, prepared: Prepared, training: Training, mesh: Mesh, work: Workdir
) -> Callable[[Any], tuple[dict[str, float], list[Prediction]]]:
    """params -> metrics of validation (loss over all of it, tag scores over its first products), samples."""
    eval_step = within(jax.jit(training.eval_step), mesh)
    rows = len(prepared.source("validation"))
    if not rows:
        raise UserError(
            f"{prepared.root}: the validation split is empty; raise split.validation or add rows to it"
        )
    products = min(experiment.train.eval_products, rows)
    tokenizer = prepared.tokenizer(experiment.tags.separator)
    rules = governance(work.root, experiment)
    config = rules.restrict(prepared.vocabulary) if rules else experiment.generate
    sized = experiment.tags.size_prefix
    tagger = Tagger(training.bundle, tokenizer, prepared.vocabulary, mesh, config, sized)

    def evaluate(params: Any) -> tuple[dict[str, float], list[Prediction]]:
        batches = prepared.eval_batches(experiment, "validation", experiment.stream.batch_size)
        total: dict[str, float] = {}
        for sums in _ahead(eval_step(params, put_batch(batch, mesh)) for batch in batches):
            for name, value in sums.items():
                total[name] = total.get(name, 0.0) + float(value)
        metrics = means(total)
        samples: list[Prediction] = []
        if products:
            batches = prepared.eval_batches(
                experiment, "validation", experiment.generate.batch_size, products
            )
            evaluation, samples = score(tagger, params, batches, prepared, "validation")
            scores = evaluation.result()
            metrics |= {name: scores[name] for name in ("micro_f1", "macro_f1", "p_at_5", "ndcg_at_5")}
        return metrics, samples

    return evaluate


def _ahead(results: Iterator[Any]) -> Iterator[Any]:
    """Downloads one result behind, so that the device always has the next to work on."""
    before = None
    for result in results:
        if before is not None:
            yield jax.device_get(before)
        before = result
    if before is not None:
        yield jax.device_get(before)
