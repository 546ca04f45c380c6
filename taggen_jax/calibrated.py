"""The calibration of a workdir: kept with what it was fitted for, and applied to nothing else."""

import pathlib
from collections.abc import Callable
from typing import Any

from taggen_jax import config as configs
from taggen_jax.decode.calibrate import Calibration
from taggen_jax.decode.inclusion import Tagged
from taggen_jax.errors import UserError
from taggen_jax.experiment import Experiment, GenerateConfig
from taggen_jax.files import read_json, write_json
from taggen_jax.runs.workdir import Workdir

Finish = Callable[[Tagged], Tagged]
UNRELATED = ("batch_size", "select")  # what a score does not depend on


def finisher(root: pathlib.Path, experiment: Experiment, step: int) -> Finish:
    """What turns a tagger's answers into the final ones: nothing where the workdir has no calibration.

    Raises:
      UserError: the calibration was fitted for another checkpoint or search, or a precision is asked for
        that there is no calibration to promise.
    """
    path, select = Workdir(root).calibration, experiment.generate.select
    command = f"run `taggen calibrate --workdir={root} --data=DATA`"
    if not path.exists():
        if select.min_precision:
            raise UserError(f"{path}: missing, and --min-precision needs it; {command}")
        return lambda tagged: tagged
    value = read_json(path, "the calibration")
    try:
        calibration, made_for = Calibration.from_json(value["calibration"]), dict(value["for"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a calibration ({error!r}); {command}") from error
    made_for = _completed(made_for)
    if made_for != (now := purpose(experiment, step)):
        changed = [name for name in now | made_for if now.get(name) != made_for.get(name)]
        raise UserError(
            f"{path}: fitted for another {' and '.join(changed)}; {command} again with the present settings, "
            "or delete it"
        )
    return lambda tagged: calibration.apply(tagged, select)


def save(root: pathlib.Path, experiment: Experiment, step: int, calibration: Calibration) -> None:
    value = {"for": purpose(experiment, step), "calibration": calibration.to_json()}
    write_json(Workdir(root).calibration, value)


def purpose(experiment: Experiment, step: int) -> dict[str, Any]:
    """What scores depend on: the checkpoint, and the search (not the batch, nor the choice that follows)."""
    settings = configs.to_dict(experiment.generate)
    search = {name: value for name, value in settings.items() if name not in UNRELATED}
    return {"step": step, **search}


def _completed(made_for: dict[str, Any]) -> dict[str, Any]:
    """Settings that are younger than the calibration stand at their defaults."""
    defaults = configs.to_dict(GenerateConfig())
    decode = {**defaults["decode"], **made_for.get("decode", {})}
    new = {name: value for name, value in defaults.items() if name not in UNRELATED}
    return {**new, **made_for, "decode": decode}
