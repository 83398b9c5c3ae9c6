"""What a library imports and nobody here uses."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def left_out(name: str) -> Generator[None]:
    """Inside, whoever imports that module gets an empty one, unless it is loaded already. Later it can be imported as ever.

    For what a library imports at its beginning and uses in parts of it that are never called; of the main thread, before
    there are others.
    """
    if name in sys.modules:
        yield
        return
    sys.modules[name] = ModuleType(name)
    try:
        yield
    finally:
        del sys.modules[name]
