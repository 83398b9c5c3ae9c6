"""python -m gateway.guidance_process FILE: clusters and suggestions, in a process of their own (gateway/datasets/isolated.py).

Comparing thousands of questions takes seconds, in which a worker would do nothing else.
"""

import argparse
import os
import sys
from pathlib import Path

import msgspec

from gateway.datasets.bounds import bind
from gateway.datasets.unusable import OUT_OF_MEMORY
from gateway.guidance.advice import advised
from gateway.guidance.material import Material


def main() -> int:
    arguments = _parser().parse_args()
    if arguments.bound:
        bind(arguments.bound)
    try:
        found = answer(arguments.file.read_bytes())
    except MemoryError:
        sys.stderr.write("out of memory\n")
        sys.stderr.flush()
        os._exit(OUT_OF_MEMORY)
    sys.stdout.buffer.write(found + b"\n")
    return 0


def answer(material: bytes) -> bytes:
    """A Report. Args: material: a Material."""
    return msgspec.json.encode(advised(msgspec.json.decode(material, type=Material)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m gateway.guidance_process",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bound", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("file", type=Path)
    return parser


if __name__ == "__main__":
    sys.exit(main())
