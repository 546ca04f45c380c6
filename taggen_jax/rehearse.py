"""taggen rehearse: everything that a run does, once and small, on simulated devices of this machine.

What a cluster would show after an hour of waiting shows here in a minute: a mesh that does not fit, a setting
that another one forbids, a checkpoint that another mesh cannot read, tags that the search cannot write.
"""

import contextlib
import dataclasses
import importlib.util
import math
import pathlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import jax

from taggen_jax import convert, generate, prepare, train
from taggen_jax.catalog import demo
from taggen_jax.catalog.readers import CatalogConfig
from taggen_jax.data import store
from taggen_jax.data.preflight import PreflightConfig
from taggen_jax.experiment import Experiment, differences
from taggen_jax.models import family
from taggen_jax.parallel.mesh import AXES, MeshConfig, axis_sizes
from taggen_jax.prepared import Prepared

DEVICES, PRODUCTS = 8, 200  # simulated devices; demo products, or rows of each split
LARGE = 40_000_000  # parameters above which a model is made smaller
SMALL = {  # sizes that none of its parts then exceeds
    **{"d_model": 64, "d_mlp": 128, "n_heads": 8, "n_kv_heads": 8, "head_dim": 8},
    **{"layers": 2, "encoder_layers": 2, "decoder_layers": 2, "local": 2},
}
LENGTH = 64  # ids of a source, and of a target


def run(experiment: Experiment, data: pathlib.Path | None = None) -> None:
    """Prepares (or takes `data`), trains a step, resumes on another mesh, tags products and exports.

    Prints what is not as the config says, and the seconds of every part. Leaves nothing behind.

    Raises:
      UserError: what the run itself would have raised.
    """
    _simulate()
    begin = time.monotonic()
    small = shrunk(experiment, own_data=data is not None)
    for line in differences(experiment, small):
        print(f"changed: {line}")
    with tempfile.TemporaryDirectory(prefix="taggen-rehearse-") as folder:
        _rehearse(small, pathlib.Path(folder), data)
    print(f"rehearsed in {time.monotonic() - begin:.0f} s")


def _simulate() -> None:
    """Gives this process DEVICES devices on the CPU; one that has devices already keeps them."""
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", DEVICES)


def _rehearse(small: Experiment, folder: pathlib.Path, data: pathlib.Path | None) -> None:
    catalog, prepared, workdir = folder / "catalog.jsonl", folder / "data", folder / "workdir"
    demo.write(catalog, PRODUCTS)
    with _part("prepare" if data is None else f"take some rows of {data}"):
        if data is None:
            prepare.run(small, prepared, input=[str(catalog)])
        else:
            _take(data, prepared)
    with _part(f"compile, a step, a checkpoint on {_layout(small.mesh)}"):
        train.run(_steps(small, 1), prepared, workdir)
    other = dataclasses.replace(small, mesh=_other(small.mesh))
    with _part(f"restore, another step on {_layout(other.mesh)}"):
        train.run(_steps(other, 2), prepared, workdir)
    with _part(
        f"tag {PRODUCTS} demo products by {small.generate.mode}, {small.generate.vocabulary} vocabulary"
    ):
        generate.run(workdir, [str(catalog)], folder / "tagged", experiment=_steps(small, 2))
    with _part("export"):
        convert.export(workdir, folder / "exported", check=importlib.util.find_spec("torch") is not None)


def _take(data: pathlib.Path, folder: pathlib.Path) -> None:
    """A prepared folder with the first rows of every split, and all else that belongs to them."""
    splits = {split: Prepared(data).source(split) for split in prepare.SPLITS}
    first = {split: map(rows.__getitem__, range(min(len(rows), PRODUCTS))) for split, rows in splits.items()}
    shutil.copytree(data, folder, ignore=shutil.ignore_patterns("*.array_record-*"))
    store.write(folder, first)


@contextlib.contextmanager
def _part(name: str) -> Iterator[None]:
    begin = time.monotonic()
    yield
    print(f"rehearsed: {name}: {time.monotonic() - begin:.0f} s")


def shrunk(experiment: Experiment, *, own_data: bool) -> Experiment:
    """The experiment, as small as a rehearsal needs it; what shapes no program stays as it is.

    Without data of its own it reads the demo catalog, whose columns, tags and languages are not the config's:
    checks of the data then only count.
    """
    model, training = experiment.model, experiment.train
    shapes = family.build(model, experiment.compute).shapes
    if sum(leaf.size for leaf in jax.tree.leaves(shapes)) > LARGE:
        model = _small(model)
        # These three speak of the layers that were.
        training = dataclasses.replace(training, pretrained="", freeze=(), unfreeze={})
    stream, tagging = experiment.stream, experiment.generate
    source_length = min(stream.source_length, LENGTH)
    small = dataclasses.replace(
        experiment,
        mesh=_fitting(experiment.mesh),
        model=model,
        stream=dataclasses.replace(
            stream,
            source_length=source_length,
            buckets=tuple(size for size in stream.buckets if size < source_length),
            target_length=min(stream.target_length, LENGTH),
            batch_size=experiment.train.accumulation * DEVICES,  # any mesh can share these out
        ),
        train=dataclasses.replace(training, eval_every=0, save_every=0, eval_products=0),
        log=dataclasses.replace(experiment.log, tensorboard=False, wandb_project=""),
        generate=dataclasses.replace(tagging, batch_size=4 * DEVICES),
    )
    if own_data:
        return small
    tags = dataclasses.replace(small.tags, vocabulary="")
    counting = PreflightConfig(**{check.name: 1.0 for check in dataclasses.fields(PreflightConfig)})
    return dataclasses.replace(small, catalog=CatalogConfig(), tags=tags, preflight=counting)


def _steps(experiment: Experiment, steps: int) -> Experiment:
    return dataclasses.replace(experiment, train=dataclasses.replace(experiment.train, steps=steps))


def _small(config: Any) -> Any:
    """A model's configuration, or a part of one, with no size above SMALL's."""
    changes = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            changes[field.name] = _small(value)
        elif isinstance(value, tuple) and field.name in SMALL:
            changes[field.name] = value[: SMALL[field.name]]
        elif field.name in SMALL:
            changes[field.name] = min(value, SMALL[field.name])
    return dataclasses.replace(config, **changes)


def _fitting(mesh: MeshConfig) -> MeshConfig:
    """The mesh with its axes cut to what the simulated devices allow: two devices where there were more."""
    sizes = {axis: getattr(mesh, axis) for axis in AXES}
    known = math.prod(size for size in sizes.values() if size > 0)
    if DEVICES % known == 0 and (-1 in sizes.values() or 0 in sizes.values() or known == DEVICES):
        return mesh
    cut = {axis: min(size, 2) for axis, size in sizes.items()}
    return dataclasses.replace(mesh, **cut | {"data": -1})


def _other(mesh: MeshConfig) -> MeshConfig:
    """A mesh that cuts what this one leaves whole."""
    return MeshConfig(preset="dp" if axis_sizes(mesh, DEVICES)["fsdp"] > 1 else "fsdp")


def _layout(mesh: MeshConfig) -> str:
    """Such as "data 2 x fsdp 4"."""
    return " x ".join(f"{axis} {size}" for axis, size in axis_sizes(mesh, DEVICES).items() if size > 1)
