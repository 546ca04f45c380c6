"""Laws of the log: sums divided once, one step behind the device, and resuming leaves no trace."""

import io
import json
import math
import pathlib
import struct
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console
from tensorboardX.proto.event_pb2 import Event

from taggen_jax.errors import UserError
from taggen_jax.files import write_json
from taggen_jax.runs.console import Lines, Meter
from taggen_jax.runs.logs import Log, LogConfig, means
from taggen_jax.runs.speed import Speed
from taggen_jax.runs.watch import Watch
from taggen_jax.runs.workdir import Workdir

QUIET = LogConfig(every=4, tensorboard=False)


def sums(step: int) -> dict[str, jax.Array]:
    """What a training step returns: float32 values that no decimal fraction hits, and uneven weights."""
    rng = np.random.default_rng(step)
    loss, nll, norm = (jnp.float32(value) for value in rng.uniform(1, 9, 3))
    return {
        "loss": loss,
        "nll": nll,
        "weight": jnp.float32(step % 3 + 1),
        "examples": jnp.float32(16),
        "tokens": jnp.float32(100),
        "gradient_norm": norm,
        "learning_rate": jnp.float32(step) / 10,
    }


def run(log: Log, first: int, last: int) -> None:
    """The training loop's calls, with an evaluation every 5 steps."""
    for step in range(first + 1, last + 1):
        log.defer(step, sums(step))
        if step % 5 == 0:
            log.write(step, {"validation/loss": step / 7})


def measures() -> tuple[Speed, Watch]:
    """What a log is given besides its workdir and settings."""
    watch = Watch(0.0, {})
    for step in range(1, 20):
        watch.expect(step, step)
    return Speed(lambda: 1.0), watch


def lines(path: pathlib.Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def silent() -> Console:
    return Console(file=io.StringIO())


def test_a_line_divides_the_sums_of_its_steps_once(tmp_path: pathlib.Path) -> None:
    workdir = Workdir(tmp_path)
    with Log(workdir, QUIET, *measures(), steps=10, console=silent()) as log:
        run(log, 0, 10)
    train = [line for line in lines(workdir.metrics) if "train/loss" in line]
    assert [line["step"] for line in train] == [4, 8, 10]
    for line, steps in zip(train, [range(1, 5), range(5, 9), range(9, 11)], strict=True):
        total = {name: sum(float(sums(step)[name]) for step in steps) for name in ("loss", "nll", "weight")}
        assert line["train/loss"] == pytest.approx(total["loss"] / total["weight"])
        assert line["train/nll"] == pytest.approx(total["nll"] / total["weight"])
        assert line["train/learning_rate"] == pytest.approx(steps[-1] / 10)
        assert line["train/gradient_norm"] == pytest.approx(float(sums(steps[-1])["gradient_norm"]))
        assert set(line) == {"step"} | {
            f"train/{n}" for n in ("loss", "nll", "learning_rate", "gradient_norm")
        }


def test_lines_stand_in_the_order_of_steps(tmp_path: pathlib.Path) -> None:
    workdir = Workdir(tmp_path)
    with Log(workdir, LogConfig(every=1, tensorboard=False), *measures(), steps=7, console=silent()) as log:
        run(log, 0, 7)
    assert [line["step"] for line in lines(workdir.metrics)] == [1, 2, 3, 4, 5, 5, 6, 7]
    assert lines(workdir.metrics)[5] == {"step": 5, "validation/loss": 5 / 7}


@pytest.mark.parametrize(("saved", "killed"), [(4, 4), (5, 6), (6, 11), (7, 9)])
def test_killed_and_resumed_leaves_the_bytes_of_never_killed(
    tmp_path: pathlib.Path, saved: int, killed: int
) -> None:
    """Killed some steps after a checkpoint, in the middle of a line."""
    straight, resumed = Workdir(tmp_path / "straight"), Workdir(tmp_path / "resumed")
    with Log(straight, QUIET, *measures(), steps=12, console=silent()) as log:
        run(log, 0, 12)
    log = Log(resumed, QUIET, *measures(), steps=12, console=silent())
    run(log, 0, saved)
    window = json.loads(json.dumps(log.window()))  # as the checkpoint's meta keeps it
    run(log, saved, killed)
    log.flush()
    log.close()
    with resumed.metrics.open("a", encoding="utf-8") as file:
        file.write('{"step": 4, "tra')
    with Log(resumed, QUIET, *measures(), steps=12, first=saved, window=window, console=silent()) as log:
        run(log, saved, 12)
    assert resumed.metrics.read_bytes() == straight.metrics.read_bytes()


def test_a_run_that_starts_over_starts_its_file_over(tmp_path: pathlib.Path) -> None:
    for _ in range(2):
        with Log(Workdir(tmp_path), QUIET, *measures(), steps=4, console=silent()) as log:
            log.write(0, {"validation/loss": 9.0})
            run(log, 0, 4)
    assert [line["step"] for line in lines(tmp_path / "metrics.jsonl")] == [0, 4]


def test_a_step_is_asked_for_only_when_the_next_is_dispatched(tmp_path: pathlib.Path) -> None:
    console = silent()
    log = Log(Workdir(tmp_path), LogConfig(seconds=0.0, tensorboard=False), *measures(), steps=9, console=console)
    shown = console.file
    assert isinstance(shown, io.StringIO)
    log.defer(1, sums(1))
    assert "train 1/9" not in shown.getvalue()
    log.defer(2, sums(2))
    assert "train 1/9" in shown.getvalue() and "train 2/9" not in shown.getvalue()
    log.flush()
    assert "train 2/9" in shown.getvalue()
    log.close()


def test_a_measure_that_is_no_number_is_null(tmp_path: pathlib.Path) -> None:
    with Log(Workdir(tmp_path), QUIET, *measures(), steps=1, console=silent()) as log:
        log.write(1, {"validation/loss": math.inf, "validation/nll": math.nan})
    (line,) = lines(tmp_path / "metrics.jsonl")
    assert line["validation/loss"] is None and line["validation/nll"] is None


@pytest.mark.parametrize("loss", [math.inf, math.nan])
def test_a_training_loss_that_is_no_number_ends_the_run_and_is_not_written(
    loss: float, tmp_path: pathlib.Path
) -> None:
    with (
        pytest.raises(UserError, match="step 1: the loss is"),
        Log(Workdir(tmp_path), QUIET, *measures(), steps=1, console=silent()) as log,
    ):
        log.defer(1, sums(1) | {"loss": jnp.float32(loss)})
    assert not lines(tmp_path / "metrics.jsonl")


def test_without_a_token_there_is_no_mean() -> None:
    assert math.isnan(means({"loss": 0.0, "weight": 0.0})["loss"])


def events(folder: pathlib.Path) -> Iterator[Event]:
    """TensorBoard's records: length, its checksum, an Event, its checksum."""
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            yield Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]


def test_tensorboard_gets_the_same_numbers_and_the_speed(tmp_path: pathlib.Path) -> None:
    workdir = Workdir(tmp_path)
    with Log(workdir, LogConfig(every=4), *measures(), steps=8, console=silent()) as log:
        run(log, 0, 8)
    written = {
        (event.step, value.tag): value.simple_value
        for event in events(workdir.tensorboard)
        for value in event.summary.value
    }
    for line in lines(workdir.metrics):
        step = line.pop("step")
        for name, value in line.items():
            assert written.pop((step, name)) == pytest.approx(value)
    assert {(4, "speed/examples_per_second"), (8, "speed/goodput")} <= written.keys()
    assert all(name.startswith("speed/") for _, name in written)


def test_weights_and_biases_is_asked_for_by_name_and_missed_by_name(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # importing it fails, installed or not
    write_json(Workdir(tmp_path).config, {})
    with pytest.raises(
        UserError, match=r"log.wandb_project: got 'tags', but wandb is not installed; run `pip"
    ):
        Log(Workdir(tmp_path), LogConfig(wandb_project="tags", tensorboard=False), *measures(), steps=1, console=silent())


class Clock:
    """Time that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_rate_leaves_out_what_came_before_the_first_step_was_done() -> None:
    clock = Clock()
    meter = Meter(steps=100, now=clock)
    clock.now += 60  # compiling
    meter.add(1, 16)
    assert meter.rates() == (0.0, 0.0) and meter.text() == "measuring"
    for step in range(2, 12):
        clock.now += 0.5
        meter.add(step, 16)
    assert meter.rates() == pytest.approx((32.0, 2.0))
    assert meter.text() == "32.0 examples/s  0:00:44 left"


def test_a_pipe_gets_a_line_now_and_then_and_the_last_one() -> None:
    console, clock = silent(), Clock()
    shown = Lines(console, steps=9, seconds=3.0, now=clock)
    for step in range(1, 10):
        shown.show(step, 1.0, "fast")
        clock.now += 1
    assert isinstance(console.file, io.StringIO)
    printed = [line.split()[1] for line in console.file.getvalue().splitlines()]
    assert printed == ["1/9", "4/9", "7/9", "9/9"]


def test_a_terminal_gets_a_bar_with_loss_rate_and_time_left(tmp_path: pathlib.Path) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with Log(Workdir(tmp_path), QUIET, *measures(), steps=6, console=console) as log:
        run(log, 0, 6)
    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue()
    for part in ("6/6", "loss ", "examples/s", "left", "step 5: validation/loss 0.7143"):
        assert part in printed


@pytest.mark.parametrize("wrong", [{"every": 0}, {"seconds": -1.0}])
def test_impossible_settings_are_refused(wrong: Mapping[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"every=.* must be at least 1"):
        LogConfig(**wrong)


def test_tensorboard_gets_texts_as_they_are(tmp_path: pathlib.Path) -> None:
    """Indented, they are code in Markdown, in which no sign has a meaning."""
    workdir = Workdir(tmp_path)
    with Log(workdir, LogConfig(), *measures(), steps=2, console=silent()) as log:
        log.show(1, "validation/products", "# lamp <b>\n  tags: *red*")
    (written,) = (value for event in events(workdir.tensorboard) for value in event.summary.value)
    assert written.tag.startswith("validation/products")
    assert written.tensor.string_val == [b"    # lamp <b>\n      tags: *red*\n"]
    assert not workdir.metrics.read_text()
