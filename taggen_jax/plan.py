"""taggen plan: what training and generation need on a pod that is not here, and how fast they can be.

The real training step and the real generator are compiled for it, ahead of time.
"""

import dataclasses
import inspect
import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from taggen_jax.costs.chips import Chip, describe
from taggen_jax.costs.program import Compiled, DoesNotFit, compile_program, roofline
from taggen_jax.costs.table import Line, gib, memory_lines, rate_lines, show, work_lines
from taggen_jax.decode.beam import DecodeConfig
from taggen_jax.errors import UserError
from taggen_jax.experiment import Experiment
from taggen_jax.models import family
from taggen_jax.models.family import Bundle
from taggen_jax.models.layers import BATCH_AXES
from taggen_jax.parallel.mesh import check_batch, check_cut, make_mesh, param_shardings
from taggen_jax.tagger import generator, of_family
from taggen_jax.training import lora
from taggen_jax.training.flops import model_flops
from taggen_jax.training.state import restorable, state_shardings
from taggen_jax.training.step import Training, jit_step
from taggen_jax.training.thaw import training_at

POLICIES: tuple[Literal["none", "dots", "full"], ...] = (
    "none",
    "dots",
    "full",
)  # of remat, the cheapest first
GROWTH = 16  # from one batch that is tried to the next, at most
CLOSE = 1.05  # a batch larger by less than this is not looked for
TRIES = 8  # compilations for a remat policy, at most


def run(experiment: Experiment, topology: str, slices: int, batch: int, search: bool) -> None:
    """Prints what one step of training and one batch of generation need on each device of a described pod.

    Args:
      experiment: the config.
      topology: of a slice, such as "v5p:4x4x4".
      slices: how many of them.
      batch: rows a training batch; 0 takes the config's.
      search: instead, for each remat policy, the largest batch that fits.

    Raises:
      UserError: no such topology, libtpu is missing, or mesh, batch and model do not go together.
    """
    if experiment.train.tag_loss:
        raise UserError(
            "plan: train.tag_loss needs the number of tags, which no config says; plan without the head, "
            "which is small: --config.train.tag_loss=0"
        )
    pod = describe(topology, slices)
    mesh = make_mesh(experiment.mesh, pod.devices)
    bundle = family.build(experiment.model, experiment.compute)
    check_cut(bundle.shapes, bundle.axes, mesh)
    sizes = " x ".join(f"{axis} {size}" for axis, size in mesh.shape.items())
    print(f"{len(pod.devices)} devices, {slices} x {topology}: {sizes}")
    if search:
        show("training steps that fit", _search(experiment, mesh, pod.chip))
        return
    show("training step", _training(with_rows(experiment, batch), mesh, pod.chip))
    show("generator", _generation(experiment, mesh, pod.chip))


def _training(experiment: Experiment, mesh: Mesh, chip: Chip) -> list[Line]:
    rows = experiment.stream.batch_size
    lines = [("rows in a batch", f"{rows:,}"), ("remat", experiment.compute.remat)]
    try:
        compiled = compile_step(experiment, mesh)
    except DoesNotFit as error:
        return [*lines, ("fits", f"no: {error}")]
    state, useful = restorable(_functions(experiment), mesh), step_flops(experiment) / mesh.size
    known = {
        "parameters": bytes_each(state["params"]),
        "optimizer": bytes_each(state["opt_state"]),
        "batch": bytes_each(_batch(experiment, mesh)),
    }
    return [
        *lines,
        *memory_lines(compiled, known, chip),
        *work_lines(compiled),
        *rate_lines(compiled, chip, rows, useful),
    ]


def _generation(experiment: Experiment, mesh: Mesh, chip: Chip) -> list[Line]:
    rows, bundle = experiment.generate.batch_size, family.build(experiment.model, experiment.compute)
    decode = of_family(experiment.generate.decode, bundle.config)
    lines = [("rows in a batch", f"{rows:,}"), ("beams", str(decode.beams))]
    try:
        compiled, args = compile_generator(experiment, mesh)
    except DoesNotFit as error:
        return [*lines, ("fits", f"no: {error}")]

    params, source_BS, _ = args
    known = {"parameters": bytes_each(params), "batch": bytes_each(source_BS)}
    shares = math.prod(mesh.shape[axis] for axis in BATCH_AXES)
    remembered = [
        (f"  of which {what}, at most", gib(size / shares))
        for what, size in remembered_bytes(experiment, bundle, decode).items()
    ]
    return [
        *lines,
        *memory_lines(compiled, known, chip),
        *remembered,
        *work_lines(compiled),
        *rate_lines(compiled, chip, rows),
    ]


def _search(experiment: Experiment, mesh: Mesh, chip: Chip) -> list[Line]:
    lines: list[Line] = []
    best: tuple[float, str] = (0.0, "nothing fits: take more devices, or a mesh that cuts more")
    for remat in POLICIES:
        compute = dataclasses.replace(experiment.compute, remat=remat)
        found = largest(dataclasses.replace(experiment, compute=compute), mesh, chip)
        if not found:
            lines.append((f"remat {remat}", "no batch fits"))
            continue
        rows, compiled = found
        speed = rows / roofline(compiled.counts, chip).seconds
        used = gib(sum(compiled.memory))
        lines.append((f"remat {remat}", f"batch {rows:,}: {used}, at most {speed:,.1f} rows/s"))
        best = max(best, (speed, f"compute.remat={remat!r}, stream.batch_size={rows}"))
    return [*lines, ("best", best[1])]


def largest(experiment: Experiment, mesh: Mesh, chip: Chip) -> tuple[int, Compiled] | None:
    """The largest batch that fits, as far as a few compilations find it, and its program; None if none."""
    unit = experiment.train.accumulation * math.prod(mesh.shape[axis] for axis in BATCH_AXES)
    fits: dict[int, Compiled] = {}

    def used(rows: int) -> float | None:
        compiled = fitting(with_rows(experiment, rows), mesh, chip)
        if not compiled:
            return None
        fits[rows] = compiled
        return float(sum(compiled.memory))

    rows = largest_rows(used, unit, chip.memory)
    return (rows, fits[rows]) if rows else None


def largest_rows(used: Callable[[int], float | None], unit: int, memory: float) -> int:
    """The most rows found to fit, a multiple of `unit`; 0 if not even `unit` rows do.

    Memory is nearly a straight line over the rows, but small batches are padded to tiles: the line through
    the last two that fit is followed GROWTH times as far at most; where that was too far, a little less, then
    half-way.

    Args:
      used: rows -> bytes; None where they do not fit.
    """
    points: list[tuple[int, float]] = []
    rows, too_many, failed = unit, math.inf, 0
    for _ in range(TRIES):
        taken = used(rows)
        if taken is None:
            too_many, failed = rows, failed + 1
        else:
            points.append((rows, taken))
            failed = 0
        if not points:
            return 0
        best, at_best = points[-1]
        guess = float(GROWTH * best)
        if len(points) > 1:
            before, at_before = points[-2]
            each = max(at_best - at_before, 1.0) / (best - before)
            guess = min(guess, best + (memory - at_best) / each)
        if guess >= too_many:
            guess = best + (too_many - best) * (0.9 if failed == 1 else 0.5)
        rows = int(guess) // unit * unit
        if rows <= CLOSE * best:
            break
    return points[-1][0]


def fitting(experiment: Experiment, mesh: Mesh, chip: Chip) -> Compiled | None:
    """The training step, if it fits."""
    try:
        compiled = compile_step(experiment, mesh)
    except DoesNotFit:
        return None
    return compiled if sum(compiled.memory) <= chip.memory else None


def compile_step(experiment: Experiment, mesh: Mesh) -> Compiled:
    """The training step, as `taggen train` runs it from its first step (with no encoder's outputs cached)."""
    check_batch(
        experiment.stream.batch_size // experiment.train.accumulation,
        mesh,
        "stream.batch_size / train.accumulation",
    )
    training = _functions(experiment)
    step = _compilable(jit_step(training, state_shardings(training, mesh), mesh))
    return compile_program(step, (restorable(training, mesh), _batch(experiment, mesh)), mesh)


def compile_generator(experiment: Experiment, mesh: Mesh) -> tuple[Compiled, tuple[Any, Any, None]]:
    """The search of an open vocabulary, as `taggen generate` runs it, and the shapes of its arguments."""
    rows = experiment.generate.batch_size
    check_batch(rows, mesh, "generate.batch_size")
    bundle = family.build(experiment.model, experiment.compute)
    decode = of_family(experiment.generate.decode, bundle.config)
    dtype = jnp.dtype(experiment.compute.dtype)
    params = jax.tree.map(
        lambda x, sharding: jax.ShapeDtypeStruct(x.shape, dtype, sharding=sharding),
        bundle.shapes,
        param_shardings(bundle.shapes, bundle.axes, mesh),
    )
    args = (params, _rows(mesh, rows, experiment.stream.source_length), None)
    return compile_program(_compilable(generator(bundle, decode, mesh)), args, mesh), args


def remembered_bytes(experiment: Experiment, bundle: Bundle, decode: DecodeConfig) -> dict[str, float]:
    """What the search keeps of a whole batch: the beams' keys and values, and the cross ones."""

    def start(params: Any, source_BS: jax.Array) -> Any:
        model, segments_BS = bundle.bind(params), jnp.ones_like(source_BS)
        memory_BSD = model.encode(source_BS, segments_BS)
        return model.start(memory_BSD, segments_BS, beams=decode.beams, length=decode.max_length)

    def sizes(rows: int) -> list[float]:
        source_BS = jax.ShapeDtypeStruct((rows, experiment.stream.source_length), jnp.int32)
        parts = jax.eval_shape(start, bundle.shapes, source_BS)
        return [sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(part)) for part in parts]

    rows = experiment.generate.batch_size  # a family may pass weights on as well: they do not grow with rows
    cache, cross = (b - a for a, b in zip(sizes(rows), sizes(2 * rows), strict=True))
    return {"beams' keys and values": cache, "cross keys and values": cross}


def step_flops(experiment: Experiment) -> float:
    """Of one step over all devices, when nothing is computed twice."""
    bundle = family.build(experiment.model, dataclasses.replace(experiment.compute, remat="none"))
    bundle = lora.adapt(bundle, experiment.train.lora)
    partition = _functions(experiment).partition
    return model_flops(bundle, partition, experiment.train, _batch(experiment, None))


def with_rows(experiment: Experiment, rows: int) -> Experiment:
    """The experiment with another training batch; the same where `rows` is 0."""
    if not rows:
        return experiment
    return dataclasses.replace(experiment, stream=dataclasses.replace(experiment.stream, batch_size=rows))


def bytes_each(shapes: Any) -> float:
    """Of one device, without padding."""
    leaves = jax.tree.leaves(shapes)
    return float(sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in leaves))


def _functions(experiment: Experiment) -> Training:
    bundle = family.build(experiment.model, experiment.compute)
    return training_at(lora.adapt(bundle, experiment.train.lora), experiment.train, 0)


def _batch(experiment: Experiment, mesh: Mesh | None) -> dict[str, jax.ShapeDtypeStruct]:
    rows, stream = experiment.stream.batch_size, experiment.stream
    source = _rows(mesh, rows, stream.source_length)
    target = _rows(mesh, rows, stream.target_length)
    if stream.packing == 1:
        return {"source": source, "target": target, "weight": _rows(mesh, rows, dtype=jnp.float32)}
    return {
        **{"source": source, "source_segments": source, "target": target, "target_segments": target},
        "weight": _rows(mesh, rows, stream.packing, dtype=jnp.float32),
    }


def _rows(mesh: Mesh | None, *shape: int, dtype: Any = jnp.int32) -> jax.ShapeDtypeStruct:
    sharding = NamedSharding(mesh, PartitionSpec(BATCH_AXES)) if mesh else None
    return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)


def _compilable(function: Any) -> Any:
    """The `jax.jit`-ted function inside one that sets its mesh, which `compile_program` does itself."""
    return inspect.unwrap(function, stop=lambda f: hasattr(f, "lower"))
