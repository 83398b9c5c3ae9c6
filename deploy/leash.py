"""Keeps a program of somebody else on a leash: `python -m deploy.leash PROGRAM ARGUMENTS`.

The program and its children end when this process is told to stop, and when the process that started this one dies, however
it dies. vLLM needs it: it is three processes, and one that is still loading when its parent goes would stay for ever.

This process leads a process group (`deploy.process.Child` makes it a session). It ends as the program did, with its status
or by its signal. What is left of the group then is ended by whoever started it; by this process, if nobody is there any more.
"""

import os
import signal
import subprocess
import sys
import time

POLL_SECONDS = 0.1
PATIENCE_SECONDS = 15.0
"""Between asking the program to stop and ending its group, when nobody is there who would."""

_asked_to_stop: list[int] = []


def main(argv: list[str]) -> int:
    """Run the program to its end; its exit status, negative for a signal."""
    parent = os.getppid()
    for number in (signal.SIGTERM, signal.SIGINT):  # before there is a program that could be left alone
        signal.signal(number, lambda received, _: _asked_to_stop.append(received))
    try:
        program = subprocess.Popen(argv)
    except OSError as error:
        print(f"{argv[0]} cannot be started: {error}", file=sys.stderr)
        return 1
    while program.poll() is None and os.getppid() == parent:
        while _asked_to_stop:
            program.send_signal(_asked_to_stop.pop())
        time.sleep(POLL_SECONDS)
    if os.getppid() != parent:
        _end_group(program)
    return program.wait()


def _end_group(program: "subprocess.Popen[bytes]") -> None:
    """Ends this process, too, when it leads the group."""
    program.terminate()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while program.poll() is None and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    program.kill()


def end_like(status: int) -> None:
    """By the same status or signal, so that who waits for this process reads what ended the program."""
    if status >= 0:
        sys.exit(status)
    if -status != signal.SIGKILL:
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)


if __name__ == "__main__":
    end_like(main(sys.argv[1:]))
