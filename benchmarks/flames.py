"""Where the gateway's microseconds go: samples of its stacks under load, by py-spy (`pip install py-spy`; it may need root).

    .venv/bin/python -m benchmarks.flames [--kind whole|stream] [--seconds 10] [--native] [--svg FILE] [--py-spy PROGRAM]

`wrk` calls at 32 connections (8 for streams) as in benchmarks/gateway.py while py-spy looks at the process that answers calls 500 times a
second. Printed are the functions in which most samples ended (self), and the files through which most passed (with what they
called), in percent of the samples that were not idle and in microseconds of CPU for a call. `--native` tells C and Rust apart; `--svg`
draws the flame graph too.
"""

import argparse
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from benchmarks.gateway import KINDS, check, cpu, measure
from benchmarks.gateways import Gateway, own_gateway, own_servers
from benchmarks.streams import worker_of
from benchmarks.upstream import running_upstream

RATE = 500
MARGIN_SECONDS = 2
"""How much longer the load lasts than py-spy looks."""
FUNCTIONS, FILES = 30, 20
PLACE = re.compile(r"\((?P<file>[^()]*?)(:\d+)?\)$")


def record(gateway: Gateway, program: str, output: Path, arguments: argparse.Namespace, form: str) -> float:
    """Samples under load, written as py-spy's `form`. -> microseconds of the worker's CPU for a call."""
    worker, native = worker_of(gateway), ["--native"] if arguments.native else []
    command = [program, "record", "--pid", str(worker.pid), "--duration", str(arguments.seconds), "--rate", str(RATE)]
    command += ["--nonblocking", "--format", form, "--output", str(output), *native]
    with ThreadPoolExecutor(1) as thread:
        before = cpu([worker])
        seconds = arguments.seconds + MARGIN_SECONDS
        load = thread.submit(measure, gateway, arguments.kind, KINDS[arguments.kind], output.parent, seconds)
        subprocess.run(command, check=True, capture_output=True)
        calls = load.result().speed * seconds
        return (cpu([worker]) - before) / calls * 1e6


def show(stacks: str, microseconds: float) -> None:
    """Args: stacks: a line for each: `frame;frame;... count`."""
    own: Counter[str] = Counter()
    through: Counter[str] = Counter()
    total = 0
    for line in stacks.splitlines():
        frames, _, count = line.rpartition(" ")
        stack = [_short(frame) for frame in frames.split(";")]
        own[stack[-1]] += int(count)
        through.update({_file(frame): int(count) for frame in stack})
        total += int(count)
    for title, counted, most in (("self", own, FUNCTIONS), ("with what it called", through, FILES)):
        print(f"\n| {title} | share | of a call |\n|---|---|---|")
        for name, count in counted.most_common(most):
            print(f"| `{name}` | {count / total:.1%} | {count / total * microseconds:.1f} µs |")


def _short(frame: str) -> str:
    """Files from the package on, and no lines: `finish (gateway/inference.py)`."""
    frame = re.sub(r":\d+\)$", ")", frame)
    return re.sub(r"\((?:.*/)?((?:gateway|deploy|site-packages|python3\.\d+)/)", r"(\1", frame).replace(
        "site-packages/", ""
    )


def _file(frame: str) -> str:
    found = PLACE.search(frame)
    return found["file"] if found else frame


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=list(KINDS), default="whole")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--native", action="store_true")
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--py-spy", default="py-spy")
    arguments = parser.parse_args()
    program = shutil.which(arguments.py_spy)
    if program is None:
        raise SystemExit("py-spy is not here: pip install py-spy, --py-spy names the program")
    with tempfile.TemporaryDirectory(prefix="tuneway-benchmark-") as directory, ExitStack() as stack:
        url, place = stack.enter_context(running_upstream()), Path(directory)
        gateway = own_gateway(stack, own_servers(stack, place), url)
        check(gateway)
        measure(gateway, arguments.kind, KINDS[arguments.kind], place, 1)
        microseconds = record(gateway, program, place / "stacks", arguments, "raw")
        print(f"{microseconds:.0f} µs of CPU of the process that answers calls for one call ({arguments.kind})")
        show((place / "stacks").read_text(), microseconds)
        if arguments.svg:
            record(gateway, program, arguments.svg.resolve(), arguments, "flamegraph")


if __name__ == "__main__":
    main()
