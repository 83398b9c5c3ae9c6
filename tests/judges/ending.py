"""What ends a test whose work hangs."""

import signal
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def at_most(seconds: int) -> Generator[None]:
    """Ends what hangs; what is quadratic in the texts that it is used with takes many times as long."""

    def end(*_: object) -> None:
        raise TimeoutError(f"not done after {seconds} seconds")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
