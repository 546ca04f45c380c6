"""A claim excludes other processes, and ends with its process."""

import subprocess
import sys

from taggen_jax.batch.claims import Claims

HOLD = """
import pathlib, sys, time
from taggen_jax.batch.claims import Claims
claims = Claims(pathlib.Path(sys.argv[1]))
assert claims.take(1)
print("held", flush=True)
time.sleep(60)
"""


def test_a_claim_of_a_killed_process_is_free(tmp_path):
    path = tmp_path / "claims"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    with holder:
        assert holder.stdout.readline() == "held\n"
        claims, done, looks = Claims(path), set(), []

        def pause():
            looks.append(sorted(done))
            holder.kill()
            holder.wait()

        for number in claims.each(lambda: [n for n in (0, 1, 2) if n not in done], pause):
            done.add(number)
        claims.close()
    assert done == {0, 1, 2} and looks[0] == [0, 2]  # waited only for what another held


def test_work_that_another_did_in_the_meantime_is_not_done_again(tmp_path):
    claims, answers = Claims(tmp_path / "claims"), iter([[5], [], []])
    assert list(claims.each(lambda: next(answers), lambda: None)) == []
    claims.close()
