"""Laws of the speedometer: what is no training does not count as training, and nothing counts twice."""

import pathlib

import jax.numpy as jnp
import pytest

from taggen_jax.errors import UserError
from taggen_jax.runs.profile import Profile
from taggen_jax.runs.speed import Speed


class Clock:
    """Time that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def speed(clock: Clock) -> Speed:
    return Speed(lambda: 0.5, peak=1e11, now=clock)


def step(speed: Speed, clock: Clock, wait: float, work: float, flops: float = 6e9) -> None:
    with speed.waiting():
        clock.now += wait
    clock.now += work
    speed.add(16, 1000, flops)


def test_compiling_waiting_and_what_is_aside_are_told_apart(speed: Speed, clock: Clock) -> None:
    step(speed, clock, wait=5, work=60)  # opening the stream, compiling
    assert "seconds_per_step" not in speed.line()
    for _ in range(4):
        step(speed, clock, wait=0.5, work=1.5)
    with speed.aside():
        clock.now += 8
    line = speed.line()
    assert line["seconds_per_step"] == pytest.approx(2)
    assert (line["examples_per_second"], line["tokens_per_second"]) == pytest.approx((8, 500))
    assert (line["data_wait_share"], line["aside_share"]) == pytest.approx((0.25, 0.5))
    assert line["mfu"] == pytest.approx(6e9 / 2 / 1e11)
    assert line["goodput"] == 0.5 and line["host_bytes"] > 1e7


def test_lines_are_of_their_own_steps_and_the_sentence_of_all(speed: Speed, clock: Clock) -> None:
    assert speed.sentence() == ""
    step(speed, clock, wait=0, work=9)
    step(speed, clock, wait=0, work=1)
    assert speed.line()["seconds_per_step"] == pytest.approx(1)
    step(speed, clock, wait=0, work=3)
    assert speed.line()["seconds_per_step"] == pytest.approx(3)
    assert speed.sentence().startswith("session: 2 steps in 0:00:04, 2 s/step, 8.0 examples/s, 500 real tok")


def test_what_no_chip_is_known_for_has_no_mfu(clock: Clock) -> None:
    speed = Speed(lambda: 1.0, now=clock)
    step(speed, clock, wait=0, work=1)
    step(speed, clock, wait=0, work=1)
    assert "mfu" not in speed.line() and "MFU" not in speed.sentence()


def test_steps_of_several_sizes_count_as_what_each_computes(speed: Speed, clock: Clock) -> None:
    step(speed, clock, wait=0, work=9)
    step(speed, clock, wait=0, work=1, flops=2e9)
    step(speed, clock, wait=0, work=3, flops=6e9)
    assert speed.line()["mfu"] == pytest.approx(8e9 / 4 / 1e11)


@pytest.mark.parametrize("steps", ["10", "5:4", "0:3", "a:b"])
def test_steps_to_trace_are_a_first_and_a_last(steps: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(UserError, match=f"--profile={steps}: expected the first and the last"):
        Profile(tmp_path, steps)


def test_a_profile_is_of_its_steps_also_where_the_run_is_resumed_among_them(tmp_path: pathlib.Path) -> None:
    profile = Profile(tmp_path, "3:5")
    for number in (1, 2, 4):
        profile.before(number)
        assert profile.after(number, jnp.ones(2)) == ""
        assert not list(tmp_path.rglob("*.xplane.pb"))
    profile.before(5)
    assert profile.after(5, jnp.ones(2)) == f"profile of steps 3 to 5: {tmp_path}"
    assert list(tmp_path.rglob("*.xplane.pb"))
