"""python -m gateway.eval_process: the statistics of evals in a process of their own (gateway/datasets/isolated.py).

    measure FILE    the metrics of a run
    compare FILE    two runs

They need scipy, whose import would slow the start of the service, and turn seconds of computing into seconds in
which a gateway answers nobody.
"""

import argparse
import os
import sys
from pathlib import Path

import msgspec

from gateway.datasets.bounds import bind
from gateway.datasets.unusable import OUT_OF_MEMORY
from gateway.evals.comparing import compare
from gateway.evals.figures import Comparison, RunFigures
from gateway.evals.measuring import measure


def main() -> int:
    arguments = _parser().parse_args()
    if arguments.bound:
        bind(arguments.bound)
    try:
        found = answer(arguments.command, arguments.file.read_bytes())
    except MemoryError:
        sys.stderr.write("out of memory\n")
        sys.stderr.flush()
        os._exit(OUT_OF_MEMORY)
    sys.stdout.buffer.write(found + b"\n")
    return 0


def answer(command: str, asked: bytes) -> bytes:
    if command == "measure":
        return msgspec.json.encode(measure(msgspec.json.decode(asked, type=RunFigures)))
    return msgspec.json.encode(compare(msgspec.json.decode(asked, type=Comparison)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m gateway.eval_process", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bound", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("command", choices=("measure", "compare"))
    parser.add_argument("file", type=Path)
    return parser


if __name__ == "__main__":
    sys.exit(main())
