"""Laws of the watch: it knows what is usual, and it survives kills."""

import json
import math

import pytest

from taggen_jax.runs.watch import ENOUGH, RECENT, Spoiled, Watch


def sums(loss: float, norm: float = 1.0, **more: float) -> dict[str, float]:
    return {"loss": 4 * loss, "weight": 4.0, "gradient_norm": norm} | more


def look(watch: Watch, step: int, *values: float, **more: float) -> None:
    watch.expect(step, f"behind {step}")
    watch.look(step, sums(*values, **more))


@pytest.mark.parametrize("values", [(math.nan,), (math.inf,), (1.0, math.nan), (1.0, math.inf)])
def test_what_is_no_number_spoils_the_run_behind_its_own_batch(values: tuple[float, ...]) -> None:
    watch = Watch(0.0, {"rolled_back": 2})
    watch.expect(7, "behind 7")
    watch.expect(8, "behind 8")
    with pytest.raises(Spoiled, match=r"^step 7: the (loss|norm of the gradient) is .* \(after 2 rollb") as caught:
        watch.look(7, sums(*values))
    assert (caught.value.place, caught.value.times) == ("behind 7", 3)


def test_a_loss_is_a_spike_beside_the_usual_ones_once_there_are_enough() -> None:
    watch = Watch(3.0, {})
    for step in range(1, ENOUGH):
        look(watch, step, 1.0 if step % 2 else 9.0)  # nothing is usual yet
    look(watch, ENOUGH, 1.0)
    look(watch, ENOUGH + 1, 2.9)
    with pytest.raises(Spoiled, match="the loss is 27.5, usually 1"):
        look(watch, ENOUGH + 2, 27.5)


def test_what_is_usual_is_kept_and_forgotten() -> None:
    watch = Watch(3.0, {})
    for step in range(1, RECENT + 1):
        look(watch, step, 10.0)
    watch = Watch(3.0, json.loads(json.dumps(watch.saved())))
    look(watch, RECENT + 1, 29.0)
    for step in range(RECENT + 2, 2 * RECENT + 2):
        look(watch, step, 1.0)
    with pytest.raises(Spoiled):
        look(watch, 2 * RECENT + 2, 29.0)


def test_skipped_steps_are_counted_and_not_usual() -> None:
    watch = Watch(0.0, {"skipped": 3})
    look(watch, 1, 0.0, skipped=1.0)
    look(watch, 2, 1.0, skipped=0.0)
    assert watch.saved() == {"losses": [], "skipped": 4, "rolled_back": 0}
