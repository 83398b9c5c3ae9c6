"""Garbage collection and what lives as long as its process: modules, types, routes."""

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def long_lived() -> Generator[None]:
    """What is made inside is never looked through for garbage: not while it is made, which takes a third longer then, and
    not later, when it would hold calls up."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
