"""A workdir: the one folder that a run leaves behind, and all that generation needs."""

import dataclasses
import pathlib

from taggen_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Workdir:
    """Where the parts of a workdir lie. Copied to another machine, it still generates.

    config.json  tokenizer/  vocabulary.json  thesaurus.jsonl  checkpoints/STEP/{state,data,meta}  base/  metrics.jsonl  speed.jsonl
    summary.json  profile/  tensorboard/  calibration.json  encoded/
    """

    root: pathlib.Path

    @property
    def config(self) -> pathlib.Path:
        return self.root / "config.json"

    @property
    def tokenizer(self) -> pathlib.Path:
        return self.root / "tokenizer"

    @property
    def vocabulary(self) -> pathlib.Path:
        return self.root / "vocabulary.json"

    @property
    def thesaurus(self) -> pathlib.Path:
        """Absent where the tags are not governed. People may edit it: the next job goes by what it says."""
        return self.root / "thesaurus.jsonl"

    @property
    def calibration(self) -> pathlib.Path:
        """Absent where nobody has calibrated the run."""
        return self.root / "calibration.json"

    @property
    def checkpoints(self) -> pathlib.Path:
        return self.root / "checkpoints"

    @property
    def base(self) -> pathlib.Path:
        """The parameters that adapters stand beside; absent where a run has none."""
        return self.root / "base"

    @property
    def metrics(self) -> pathlib.Path:
        return self.root / "metrics.jsonl"

    @property
    def speed(self) -> pathlib.Path:
        """How fast it went, the lines of every session: nothing reproducible."""
        return self.root / "speed.jsonl"

    @property
    def profile(self) -> pathlib.Path:
        """Traces of `taggen train --profile`."""
        return self.root / "profile"

    @property
    def summary(self) -> pathlib.Path:
        return self.root / "summary.json"

    @property
    def damaged(self) -> pathlib.Path:
        """Checkpoints that could not be read, moved out of the way."""
        return self.root / "damaged"

    @property
    def encoded(self) -> pathlib.Path:
        """What a frozen encoder makes of the training products: large, of use to training only, and computed
        anew where it is missing."""
        return self.root / "encoded"

    @property
    def tensorboard(self) -> pathlib.Path:
        return self.root / "tensorboard"

    @property
    def wandb(self) -> pathlib.Path:
        """Holds the id of the Weights & Biases run, so that a resumed run goes on in the same one."""
        return self.root / "wandb.json"


def trained(root: pathlib.Path) -> Workdir:
    """The workdir of a run that has been trained, at least to its first checkpoint.

    Raises:
      UserError: the folder, one of its parts or every checkpoint is missing.
    """
    workdir = Workdir(root)
    if not root.is_dir():
        raise UserError(f"{root}: no such workdir; give the folder that `taggen train --workdir` wrote")
    for part in (workdir.config, workdir.tokenizer, workdir.vocabulary):
        if not part.exists():
            raise UserError(
                f"{root}: no {part.name} in this workdir; give the folder that `taggen train` wrote"
            )
    if not any(folder.name.isdecimal() for folder in workdir.checkpoints.glob("*")):
        raise UserError(f"{root}: no checkpoint in this workdir; run `taggen train --workdir={root}` first")
    return workdir
