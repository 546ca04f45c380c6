"""The folder of a job: its plan, its shards, and what they become when all of them are there.

    OUTPUT/predictions.jsonl     (or .parquet) one row a product, in the order of the input
           quarantine.jsonl      the bad rows
           manifest.json         fingerprint and one entry a shard: written last, so its presence says "done"
           parts/                gone when the job is done:
             claims              locks, see `claims`
             plan.json           fingerprint and plan
             00000.jsonl         the predictions of shard 0
             00000.quarantine.jsonl
             00000.json          the entry of shard 0: written last, so its presence says "committed"

Every file appears whole, under a temporary name until it is renamed. A process may be killed at any moment:
what is not committed is done again, and gives the same bytes.
"""

import contextlib
import functools
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any

from taggen_jax.batch.claims import Claims
from taggen_jax.batch.fingerprint import differences, digest, listed
from taggen_jax.batch.formats import write_lines
from taggen_jax.batch.plan import Plan
from taggen_jax.errors import UserError
from taggen_jax.files import read_json, write_json

Json = dict[str, Any]
Writer = Callable[[Iterator[bytes], pathlib.Path], None]  # lines, and the file to write them to
PREDICTIONS, QUARANTINE = "jsonl", "quarantine.jsonl"
_PLAN, _MERGE, _FIRST_SHARD = 0, 1, 2  # numbers of the claims


class Job:
    """One job, as one of its processes sees it.

    Attributes:
      fingerprint: what the output depends on.
    """

    def __init__(self, folder: pathlib.Path, fingerprint: Json) -> None:
        """Opens the folder, or begins it.

        Raises:
          UserError: the folder holds a job with another fingerprint.
        """
        self.folder, self.fingerprint = folder, json.loads(json.dumps(fingerprint))
        self._parts = folder / "parts"
        self._check()
        self._claims = Claims(self._parts / "claims")

    def __enter__(self) -> "Job":
        """Nothing is claimed yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Gives up what is claimed."""
        self._claims.close()

    def done(self) -> bool:
        return (self.folder / "manifest.json").exists()

    def plan(self, survey: Callable[[], Plan]) -> Plan:
        """The job's plan, made by `survey` in one process and read by the others."""

        def write() -> None:
            record = {"fingerprint": self.fingerprint, "plan": survey().to_json()}
            write_json(self._parts / "plan.json", record)

        self._claims.once(_PLAN, lambda: self._record() is not None, write)
        self._check()  # two first processes may have come with different settings
        record = self._record()
        assert record is not None
        return Plan.from_json(record["plan"])

    def part(self, shard: int, kind: str) -> pathlib.Path:
        return self._parts / f"{shard:05d}.{kind}"

    def missing(self, plan: Plan) -> list[int]:
        """The shards that nobody has committed."""
        try:
            present = set(os.listdir(self._parts))
        except FileNotFoundError:
            present = set()
        if self.done():  # asked last: the parts go after the job is done
            return []
        return [shard for shard in range(plan.shards) if f"{shard:05d}.json" not in present]

    def claimed(self, plan: Plan, pause: Callable[[], None]) -> Iterator[int]:
        """Shards to do, each claimed until the next is asked for; ends when all are committed."""
        numbers = self._claims.each(lambda: [_FIRST_SHARD + n for n in self.missing(plan)], pause)
        return (number - _FIRST_SHARD for number in numbers)

    def commit(self, shard: int, counts: Json) -> None:
        """Makes a shard, whose two files are written, a part of the job."""
        sha = {kind: digest(self.part(shard, kind)) for kind in (PREDICTIONS, QUARANTINE)}
        write_json(self.part(shard, "json"), {"shard": shard, **counts, "sha256": sha})

    def merge(self, plan: Plan, name: str, write: Writer) -> Json:
        """Makes one file of all shards, in one process while the others wait, and returns the manifest.

        Args:
          plan: the job's.
          name: of the file of predictions.
          write: (lines of all predictions, path) writes that file.

        Raises:
          UserError: a shard is not what it was when it was committed.
        """
        self._claims.once(_MERGE, self.done, functools.partial(self._merge, plan, name, write))
        return self.manifest()

    def _merge(self, plan: Plan, name: str, write: Writer) -> None:
        entries = [read_json(self.part(shard, "json"), "the shard's entry") for shard in range(plan.shards)]
        for target, kind, writer in ((name, PREDICTIONS, write), (QUARANTINE, QUARANTINE, write_lines)):
            writer(self._lines(entries, kind), self._parts / target)
            os.replace(self._parts / target, self.folder / target)
        record = {"fingerprint": self.fingerprint, "plan": plan.to_json(), "shards": entries}
        write_json(self._parts / "manifest.json", record)
        os.replace(self._parts / "manifest.json", self.folder / "manifest.json")

    def manifest(self) -> Json:
        """The entries of a job that is done. What is left of its parts goes."""
        shutil.rmtree(self._parts, ignore_errors=True)  # several processes may be at it
        return dict(read_json(self.folder / "manifest.json", "the job's manifest"))

    def _lines(self, entries: list[Json], kind: str) -> Iterator[bytes]:
        for entry in entries:
            path, found = self.part(entry["shard"], kind), hashlib.sha256()
            with open(path, "rb") as file:
                for line in file:
                    found.update(line)
                    yield line
            if found.hexdigest() != entry["sha256"][kind]:
                raise UserError(
                    f"{path}: not the file that was committed; delete {self.part(entry['shard'], 'json')} "
                    "and run the same command again: it makes this shard anew"
                )

    def _record(self) -> Json | None:
        """What the job was begun with; None where there is none."""
        # In this order: the plan goes only after the manifest has come.
        for path in (self._parts / "plan.json", self.folder / "manifest.json"):
            with contextlib.suppress(FileNotFoundError):
                return dict(json.loads(path.read_bytes()))
        return None

    def _check(self) -> None:
        record = self._record()
        if record and (changes := differences(record["fingerprint"], self.fingerprint)):
            raise UserError(
                f"{self.folder}: begun with another input or other settings ({listed(changes)}); "
                "go on with the old ones, or choose another --output"
            )
