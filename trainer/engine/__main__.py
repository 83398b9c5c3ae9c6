"""`python -m trainer.engine --model PATH --port P`: see `--help`.

Nothing heavy is imported before the arguments are known, and nothing is ever fetched from the network.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys

from trainer.engine.parent import exit_with_parent

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    # Threads that wait asleep: a training run on the same cores would otherwise stop both for milliseconds a step.
    "OMP_WAIT_POLICY": "PASSIVE",
}

logger = logging.getLogger("tuneway.engine")


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m trainer.engine",
        description="Serves one local model and LoRA adapters on it, over the part of vLLM's HTTP API that Tuneway uses.",
    )
    parser.add_argument("--model", required=True, metavar="PATH", help="directory of the model, in Hugging Face format")
    parser.add_argument("--served-model-name", metavar="NAME", help="what requests call the model (default: PATH)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    parser.add_argument(
        "--max-concurrency", type=positive, default=16, metavar="N", help="answers written at once (default: 16)"
    )
    parser.add_argument(
        "--max-models",
        type=count,
        default=4,
        metavar="N",
        help="models with weights of their own beside it (default: 4)",
    )
    parser.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], default="auto", help="default: the best")
    parser.add_argument("--max-model-len", type=positive, metavar="N", help="tokens of prompt and answer together")
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when the starting process has died")
    return parser.parse_args(arguments)


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must be at least 0")
    return number


def main(arguments: list[str] | None = None) -> int:
    parent = os.getppid()
    chosen = parse_arguments(arguments)
    if chosen.exit_with_parent:
        exit_with_parent(parent)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: sys.exit(0))  # until the server takes over: nothing to drain yet
    os.environ.update(ENVIRONMENT)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it mentions kernels that nobody here asked for
    if chosen.model.startswith(("/", ".")) and not os.path.isdir(chosen.model):
        logger.error("The model at %s cannot be loaded: there is no such directory.", chosen.model)
        return 1
    # After the environment is set: these import torch and transformers.
    from trainer.engine.engine import Engine
    from trainer.engine.lifecycle import Address, serve
    from trainer.engine.loading import load

    try:
        loaded = load(chosen.model, device=chosen.device, max_model_len=chosen.max_model_len)
    except (OSError, ValueError, RuntimeError) as error:
        logger.error("The model at %s cannot be loaded: %s", chosen.model, error)
        return 1
    limits = {"max_concurrency": chosen.max_concurrency, "max_models": chosen.max_models}
    engine = Engine(loaded, chosen.served_model_name or chosen.model, chosen.model, **limits)
    try:
        asyncio.run(serve(engine, Address(chosen.host, chosen.port)))
    except OSError as error:
        logger.error("Cannot listen on %s:%s: %s", chosen.host, chosen.port, error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
