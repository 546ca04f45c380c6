"""Checkpoints: written in the background, kept by age and by merit, restored onto any mesh.

checkpoints/STEP/state   the training state: arrays, each in shards, read back into any other sharding
                 data    where the stream of batches stands: a small JSON mapping
                 meta    what else the run needs to go on: a small JSON mapping
                 metrics the scores that the best checkpoint is chosen by
"""

import contextlib
import dataclasses
import math
import pathlib
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import jax
import orbax.checkpoint as ocp
from jax.sharding import SingleDeviceSharding
from orbax.checkpoint import checkpoint_managers as policies

from taggen_jax.errors import UserError
from taggen_jax.parallel import hosts
from taggen_jax.runs import leaves

Json = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """Which checkpoints stay.

    Attributes:
      keep_last: how many of the newest.
      keep_best: how many of the best by `metric`; 0 keeps none for its merit.
      metric: a name among the metrics that checkpoints are saved with.
      mode: whether a small ("min") or a large ("max") value is good.
    """

    keep_last: int = 3
    keep_best: int = 1
    metric: str = "loss"
    mode: Literal["min", "max"] = "min"

    def __post_init__(self) -> None:
        if self.keep_last < 1 or self.keep_best < 0:
            raise ValueError(
                f"keep_last={self.keep_last} must be at least 1, keep_best={self.keep_best} at least 0"
            )

    def merit(self, metrics: Mapping[str, float]) -> float:
        """Larger is better. No value and NaN are worse than any value."""
        value = metrics.get(self.metric, math.nan)
        if math.isnan(value):
            return -math.inf
        return value if self.mode == "max" else -value


class Damaged(UserError):
    """A checkpoint that cannot be read: cut short, say, or without one of its files."""

    def __init__(self, folder: pathlib.Path, reason: str) -> None:
        super().__init__(
            f"{folder}: this checkpoint cannot be read, it is not whole ({reason}); copy it anew, or delete "
            "its folder so that another one is taken"
        )
        self.reason = reason


class Checkpoints:
    """The checkpoints in one folder.

    A state is a pytree of arrays; random keys go in as raw data (`jax.random.key_data`). Every process of a
    run makes the same calls.
    """

    def __init__(self, folder: pathlib.Path, config: CheckpointConfig, *, writing: bool) -> None:
        """Opens the folder. `writing` makes it and deletes what a killed run left half-written.

        Only the run that writes may do so: to another one's save in progress it would be fatal.
        """
        self._folder, self._config = folder, config
        self._saving = 0
        keep: list[policies.PreservationPolicy] = [policies.LatestN(config.keep_last)]
        if config.keep_best:
            keep.append(policies.BestN(get_metric_fn=config.merit, n=config.keep_best))
        self._manager = ocp.CheckpointManager(
            folder.absolute(),
            item_handlers={
                "state": ocp.PyTreeCheckpointHandler(type_handler_registry=leaves.REGISTRY),
                "data": ocp.JsonCheckpointHandler(),
                "meta": ocp.JsonCheckpointHandler(),
            },
            options=ocp.CheckpointManagerOptions(
                create=writing,
                cleanup_tmp_directories=writing,
                best_fn=config.merit,
                preservation_policy=policies.AnyPreservationPolicy(keep),
            ),
        )

    def save(
        self, step: int, state: Any, data: Json, meta: Json, metrics: Mapping[str, float] | None = None
    ) -> None:
        """Starts to save and returns once `state` may be donated to the next step.

        Args:
          step: of which there is no checkpoint yet.
          state: pytree of arrays, or of `Leaf`s, which go from disk to disk.
          data, meta: JSON mappings.
          metrics: what the best checkpoint is chosen by; without them this one is never the best.

        Raises:
          UserError: the save before this one failed, or `metrics` lack the configured one.
        """
        if metrics and self._config.metric not in metrics:
            names = ", ".join(metrics)
            raise UserError(
                f"checkpoints.metric: {self._config.metric!r} is not measured; choose one of {names}"
            )
        self.wait()
        self._saving = step
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.PyTreeSave(state, save_args=jax.tree.map(leaves.chunks, state)),
                data=ocp.args.JsonSave(data),
                meta=ocp.args.JsonSave(meta),
            ),
            metrics={name: float(value) for name, value in (metrics or {}).items()},
            force=True,  # when to save is the caller's decision alone
        )

    def wait(self) -> None:
        """Returns when the last save is on disk; raises UserError when it failed."""
        try:
            self._manager.wait_until_finished()
        except (OSError, ValueError) as error:  # tensorstore reports a full disk as ValueError
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{self._folder}: the checkpoint of step {self._saving} could not be written ({reason}); "
                "mend that, then run the same command again: it resumes at the checkpoint before"
            ) from error

    def close(self) -> None:
        """Waits as `wait` does, then frees the threads."""
        self.wait()
        self._manager.close()

    def latest_step(self) -> int | None:
        return self._manager.latest_step()

    def best_step(self) -> int | None:
        """The step with the best metric; the latest one where no checkpoint has any."""
        return self._manager.best_step()

    def restore_newest(
        self, like: Callable[[int], Any], damaged: pathlib.Path
    ) -> tuple[int, Any, Json, Json] | None:
        """(step, state, data, meta) of the newest checkpoint that can be read; None where there is none.

        One that cannot be read (cut short, a file lost) is moved into the folder `damaged`, with a warning, and
        the one before it is tried.

        Args:
          like: step -> what `restore` takes for the state of that step.
          damaged: where to.

        Raises:
          UserError: a readable checkpoint is of another state; or all of several are damaged.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        for step in steps:
            restored, reason = None, "another process cannot read its part"
            try:
                restored = self.restore(step, like(step))
            except Damaged as error:
                reason = error.reason
            if not hosts.any_of(restored is None):
                assert restored
                return (step, *restored)
            self._set_aside(step, damaged)
            print(
                f"warning: {self._folder / str(step)}: damaged ({reason}); moved to {damaged}, "
                "going on from the checkpoint before",
                file=sys.stderr,
            )
        if steps:
            raise UserError(
                f"{self._folder}: none of its {len(steps)} checkpoints can be read; they are in {damaged}; "
                "restore the folder from a copy, or give a new workdir"
            )
        return None

    def _set_aside(self, step: int, damaged: pathlib.Path) -> None:
        if hosts.first():
            damaged.mkdir(exist_ok=True)
            target = damaged / str(step)
            shutil.rmtree(target, ignore_errors=True)
            (self._folder / str(step)).rename(target)
        hosts.wait(f"{target} set aside")
        self._manager.reload()

    def restore(self, step: int, like: Any) -> tuple[Any, Json, Json]:
        """(state, data, meta) of a step.

        Args:
          step: one that was saved.
          like: the state's tree with arrays or `jax.ShapeDtypeStruct`s, whose shardings the restored arrays
            get; without a sharding an array goes to the first local device.

        Raises:
          UserError: the checkpoint is not whole, or its state has other arrays or other shapes.
        """
        self._check(step, like, partial=False)
        args = ocp.args.Composite(
            state=_onto(like, partial=False), data=ocp.args.JsonRestore(), meta=ocp.args.JsonRestore()
        )
        with self._whole(step):
            restored = self._manager.restore(step, args=args)
        return restored.state, restored.data, restored.meta

    def restore_params(self, step: int, like: Any) -> Any:
        """The "params" of a state that is a mapping; the rest of it, the larger part, is not read.

        Raises:
          UserError: as `restore` does.
        """
        subtree = {"params": like}
        self._check(step, subtree, partial=True)
        args = ocp.args.Composite(state=_onto(subtree, partial=True))
        with self._whole(step):
            return self._manager.restore(step, args=args).state["params"]

    def meta(self, step: int) -> Json:
        """The meta of a step, without its state."""
        with self._whole(step):
            return self._manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore())).meta

    def leaves(self, step: int) -> Any:
        """The "params" of a state that is a mapping, as `Leaf`s: nothing is read before it is asked for."""
        saved = {"params": self._manager.item_metadata(step).state.tree["params"]}
        args = ocp.args.Composite(state=leaves.opening(saved))
        return self._manager.restore(step, args=args).state["params"]

    def _check(self, step: int, like: Any, *, partial: bool) -> None:
        with self._whole(step):
            saved = _shapes(self._manager.item_metadata(step).state.tree)
        wanted = _shapes(like)
        paths = wanted.keys() if partial else wanted.keys() | saved.keys()
        for path in sorted(paths):
            before, now = (shapes.get(path, "nothing") for shapes in (saved, wanted))
            if before != now:
                raise UserError(
                    f"{self._folder / str(step)}: {path} was saved as {before}, but the config asks "
                    f"for {now}; use the config that this run was trained with, or another workdir"
                )

    @contextlib.contextmanager
    def _whole(self, step: int) -> Iterator[None]:
        """Reports what keeps a checkpoint from being read, a cut file for one, as the user's error."""
        try:
            yield
        except Exception as error:  # of no narrower class where a cut file is met
            reason = " ".join(str(error.__cause__ or error).split())[:200]
            raise Damaged(self._folder / str(step), reason) from error


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape) for path, leaf in leaves
    }


def _onto(like: Any, *, partial: bool) -> ocp.args.PyTreeRestore:
    def target(leaf: Any) -> jax.ShapeDtypeStruct:
        sharding = getattr(leaf, "sharding", None) or SingleDeviceSharding(jax.local_devices()[0])
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    targets = jax.tree.map(target, like)
    shardings = ocp.checkpoint_utils.construct_restore_args(targets)
    return ocp.args.PyTreeRestore(targets, restore_args=shardings, partial_restore=partial)
