"""`make demo`: from nothing to a fine-tuned model answering, and from what people said of answers to the next model, told as
a story. Exits 0 only if all of it worked."""

import argparse
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
from openai import OpenAIError
from rich.console import Console

from deploy.demo.second_act import SecondAct
from deploy.demo.stack import ENGINES, DemoError, DemoStack, running_stack
from deploy.demo.steps import Demo


def main() -> int:
    """Run the demo; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave it serving at the end, until Ctrl-C")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--engine", choices=list(ENGINES), default="embedded", help="what serves the models")
    options = parser.parse_args()
    _listen()
    out = Console(highlight=False, soft_wrap=True, emoji=False)
    try:
        with _directory() as directory, running_stack(directory, options.port, options.engine, out) as stack:
            model = Demo(stack, out).run()
            SecondAct(stack, out, model).run()
            if options.keep:
                _keep(stack, out)
    except KeyboardInterrupt:
        out.print("\nInterrupted; everything is stopped.")
        return 130
    except (DemoError, OpenAIError, httpx.HTTPError, OSError, subprocess.SubprocessError) as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]The demo failed:[/] {error}")
        return 1
    out.print(
        "\n[bold green]Done.[/] Everything is stopped and the temporary data is gone." if not options.keep else ""
    )
    return 0


def _listen() -> None:
    """A closed terminal or SIGTERM ends the demo like Ctrl-C: the stack has a session of its own and would live on."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


@contextmanager
def _directory() -> Generator[Path]:
    with tempfile.TemporaryDirectory(prefix="tuneway-demo-", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


def _keep(stack: DemoStack, out: Console) -> None:
    out.print(f"\nStill serving at [bold]{stack.url}/v1[/]; the key is {stack.key.value}\nCtrl-C stops it.")
    stack.wait()


if __name__ == "__main__":
    sys.exit(main())
