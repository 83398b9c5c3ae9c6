"""`python -m trainer JOB_DIR`: trains one job. What the directory holds and what the exit status means is in
`trainer.contract`."""

import argparse
import os
import sys
from pathlib import Path

import trainer.contract
from trainer.stopping import Stop


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m trainer",
        description=trainer.contract.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("directory", type=Path, metavar="JOB_DIR", help="directory with spec.json and the data")
    directory = parser.parse_args().directory.resolve(strict=True)
    stop = Stop()
    stop.watch()
    _set_environment()
    from trainer.run import run

    return run(directory, stop)


def _set_environment() -> None:
    """Read by the libraries when they are imported: no downloads, no telemetry, one process on one device."""
    if "WORLD_SIZE" not in os.environ:
        # TRL refuses to run in one process that sees several GPUs; the processes of a launcher take one each.
        os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    os.environ |= {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_DATASETS_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "TOKENIZERS_PARALLELISM": "false",
        # Threads that wait for each other by spinning make training many times slower when anything else wants a core.
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
    }


if __name__ == "__main__":
    sys.exit(main())
