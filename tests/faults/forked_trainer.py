"""A trainer that is killed again and again: `python forked_trainer.py JOB_DIR WHOLE_DIR KILLS SEED`.

Trains WHOLE_DIR undisturbed and JOB_DIR with KILLS times SIGKILL at random moments, a checkpoint after every step. The
libraries are imported once and every trainer is a fork, because importing them takes longer than the training.
Writes, as JSON, how many kills there were and how many left a checkpoint half written.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from trainer import progress
from trainer.contract import CHECKPOINTS, EVENTS
from trainer.run import run
from trainer.stopping import Stop

EARLY = 0.15
"""Share of the kills that do not wait for the training to begin."""
MOST_STEPS = 3
"""Until the kill."""


def start(directory: Path) -> int:
    child = os.fork()
    if child:
        return child
    os._exit(run(directory, Stop()))


def count(directory: Path, kind: bytes) -> int:
    path = directory / EVENTS
    return path.read_bytes().count(b'{"type":"%s"' % kind) if path.exists() else 0


def wait_for_steps(directory: Path, child: int, steps: int) -> bool:
    """False when the child ended first."""
    begun, told = count(directory, b"started"), count(directory, b"metrics")
    while count(directory, b"started") == begun or count(directory, b"metrics") < told + steps:
        if os.waitpid(child, os.WNOHANG) != (0, 0):
            return False
        time.sleep(0.002)
    return True


def kill_once(directory: Path, chance: random.Random, step_seconds: float) -> bool:
    """Starts a trainer and kills it; False when it finished the job first."""
    child = start(directory)
    if chance.random() < EARLY:
        time.sleep(chance.uniform(0.0, 0.2))
    elif not wait_for_steps(directory, child, chance.randrange(MOST_STEPS)):
        return False
    time.sleep(chance.uniform(0.0, step_seconds))
    if os.waitpid(child, os.WNOHANG) != (0, 0):
        return False
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def torn(directory: Path) -> bool:
    """A checkpoint without its manifest: the kill came while it was saved."""
    return any(not (path / "manifest.json").exists() for path in (directory / CHECKPOINTS).glob("step-*"))


def main() -> None:
    job, whole = Path(sys.argv[1]), Path(sys.argv[2])
    wanted, chance = int(sys.argv[3]), random.Random(int(sys.argv[4]))
    progress.RESUME_CHECKPOINT_SECONDS = 0.0
    began = time.monotonic()
    assert os.waitstatus_to_exitcode(os.waitpid(start(whole), 0)[1]) == 0
    step_seconds = (time.monotonic() - began) / max(1, count(whole, b"metrics"))
    kills = torn_saves = 0
    while kills < wanted and kill_once(job, chance, step_seconds):
        kills += 1
        torn_saves += torn(job)
    if kills == wanted:
        assert os.waitstatus_to_exitcode(os.waitpid(start(job), 0)[1]) == 0
    sys.stdout.write(json.dumps({"kills": kills, "torn_saves": torn_saves}) + "\n")


if __name__ == "__main__":
    main()
