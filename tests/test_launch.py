"""The files in launch/ parse, call the program by its flags, and start again only where that helps."""

import pathlib
import re
import shlex
import subprocess

import pytest
import yaml

from taggen_jax.verbs import VERBS

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHELL = [*sorted((ROOT / "launch").glob("*.sh")), ROOT / "launch" / "slurm.sbatch"]
YAML = sorted((ROOT / "launch").glob("*.yaml"))


def command(text: str) -> list[str]:
    """The words of the one `taggen train` in a script, its variable TRAIN filled in."""
    text = re.sub(r"\\\n\s*", " ", text)
    train = re.search(r'^TRAIN="(.*)"$', text, flags=re.MULTILINE)
    text = text.replace("$TRAIN", train[1]) if train else text
    (found,) = re.findall(r'(?:taggen|"\$TAGGEN") train (--[^\n]*)', text)
    inside = found.count('"') % 2  # of a text in quotes, which ends where the command does
    return shlex.split(found.partition('"')[0] if inside else found)


def pod(jobset: dict) -> dict:
    (slice_,) = jobset["spec"]["replicatedJobs"]
    return slice_["template"]["spec"]["template"]["spec"]


def words(path: pathlib.Path) -> list[str]:
    if path.suffix != ".yaml":
        return command(path.read_text())
    values = yaml.safe_load(path.read_text())
    if "run" in values:
        return command(values["run"])
    (container,) = pod(values)["containers"]
    assert container["command"] == ["taggen", "train"]
    return container["args"]


@pytest.mark.parametrize("path", SHELL, ids=lambda path: path.name)
def test_a_script_parses(path):
    subprocess.run(["bash", "-n", path], check=True)


@pytest.mark.parametrize("path", SHELL + YAML, ids=lambda path: path.name)
def test_it_calls_train_by_flags_that_exist(path):
    verb, flags = VERBS["train"], [word.removeprefix("--").partition("=")[0] for word in words(path)]
    assert set(flags) <= {"config", *verb.needs, *verb.takes}
    assert {"config", *verb.needs, "distributed"} <= set(flags)


def test_a_jobset_restarts_all_but_not_after_a_mistake():
    jobset = yaml.safe_load((ROOT / "launch" / "gke_jobset.yaml").read_text())
    policy = jobset["spec"]["failurePolicy"]
    assert policy["maxRestarts"] > 0
    assert policy["rules"] == [{"action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}]
    job = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]
    (rule,) = job["podFailurePolicy"]["rules"]
    assert (rule["action"], rule["onExitCodes"]["values"]) == ("FailJob", [2])
    assert job["backoffLimit"] == 0 and pod(jobset)["restartPolicy"] == "Never"
    assert job["completions"] == job["parallelism"]
