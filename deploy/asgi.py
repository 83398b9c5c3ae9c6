"""The ASGI application that uvicorn loads: settings are read here, once a process.

What is imported here is what model calls need; the rest follows in a thread (gateway/app.py), so that a gateway answers
in half the time. tests/architecture/test_imports.py knows what must not come back.
"""

from typing import TYPE_CHECKING

from gateway.kit.left_out import left_out
from gateway.kit.long_lived import long_lived

with long_lived():
    with left_out("jwt"):  # redis-py 5 has it, and 9 MB of cryptography, for tokens that no setting here knows
        import redis.asyncio  # noqa: F401  # pyright: ignore[reportUnusedImport] for those who come after
    from gateway.app import App
    from gateway.direct import DirectProtocol
    from gateway.settings import load

if TYPE_CHECKING:
    from litestar import Litestar

settings = load()


def build() -> "Litestar":
    """Everything but model calls."""
    with long_lived():
        from admin.console.urls import CONSOLE
        from gateway.litestar_app import build_routes

        return build_routes(settings.max_body_bytes, CONSOLE)


app = App(settings, build)
protocol = DirectProtocol
"""Of its connections. uvicorn loads it first, and it must not be the one who imports all of the above."""
