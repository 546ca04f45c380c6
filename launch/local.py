"""Several processes on this machine as one run; when one is lost, all start again and resume.

    python launch/local.py --processes=2 -- train --config=configs/demo.py --data=DATA --workdir=WORKDIR

What stands after `--` goes to `taggen`, with what makes the processes find each other. `--devices=4` gives
each process so many simulated CPU devices. SIGTERM goes on to all of them. Exit status: 0 done, 2 a mistake
to mend, 143 told to stop, else that of the process that was lost once too often.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time

MISTAKE, TERMINATED = 2, 143  # exit statuses of `taggen` after which starting again would lead nowhere


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--devices", type=int, default=0, help="simulated CPU devices a process; 0: real ones"
    )
    parser.add_argument("--restarts", type=int, default=10, help="of all processes, after one was lost")
    parser.add_argument("command", nargs="+", help="-- VERB --flag=value ...")
    flags = parser.parse_args()
    environment = dict(os.environ)
    if flags.devices:
        environment |= {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(flags.devices)}
    for restarts in range(flags.restarts + 1):
        status = run(flags.command, flags.processes, environment)
        if status in (0, MISTAKE, TERMINATED):
            break
        left = flags.restarts - restarts
        print(f"launch: a process ended with status {status}; {left} restarts left", file=sys.stderr)
    sys.exit(status)


def run(command: list[str], count: int, environment: dict[str, str]) -> int:
    """Starts the processes and returns when all have ended: the status of the first one that failed, or 0."""
    command = [sys.executable, "-m", "taggen_jax", *command, "--distributed", f"--processes={count}"]
    command.append(f"--coordinator=127.0.0.1:{free_port()}")
    processes = [
        subprocess.Popen([*command, f"--process={number}"], env=environment) for number in range(count)
    ]
    before = signal.signal(signal.SIGTERM, lambda *_: [process.terminate() for process in processes])
    try:
        while None in (statuses := [process.poll() for process in processes]):
            if set(statuses) - {None, 0, TERMINATED}:
                break  # nothing can go on without it: no need to wait until the others notice
            time.sleep(0.1)
    finally:
        for process in processes:
            process.kill()
            process.wait()
        signal.signal(signal.SIGTERM, before)
    failed = [status for status in statuses if status]
    return failed[0] if failed and failed[0] > 0 else 128 - failed[0] if failed else 0


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


if __name__ == "__main__":
    main()
