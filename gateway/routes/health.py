"""/health (alive), /ready (can it work), /metrics."""

import asyncio
import json
from collections.abc import Awaitable
from typing import Any

from litestar import Response, get

from gateway.errors import Refusal, Unavailable
from gateway.routes.callers import Sv
from gateway.services import Services
from gateway.upstreams.engine import Engine

PARTS_FILE = "run/parts.json"
"""Written by the embedded stack's supervisor: which parts run, and how often each was restarted."""


CHECK_SECONDS = 3.0
"""A part that hangs is as good as away; whoever asks does not wait longer."""


@get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@get("/ready")
async def ready(sv: Sv) -> Response[dict[str, Any]]:
    """200 when every part answers, else 503; the body says which does not, and why."""
    names = ("database", "redis", "files", "worker")
    parts = (sv.database.ping(), sv.queue.ping(), sv.files.ping(), _worker(sv))
    failures, (engine_works, engine) = await asyncio.gather(asyncio.gather(*map(_failure, parts)), _engine(sv))
    checks = {name: failure or "ok" for name, failure in zip(names, failures, strict=True)} | {"engine": engine}
    fine = engine_works and not any(failures)
    body = {"status": "ready" if fine else "not ready", "checks": checks, "parts": _parts(sv)}
    return Response(body, status_code=200 if fine else 503)


@get("/metrics")
async def metrics(sv: Sv) -> Response[bytes]:
    sv.metrics.cache_bytes.set(sv.replies.size)
    sv.metrics.show_breakers(sv.traffic.breakers.open())
    return Response(sv.metrics.render(), media_type="text/plain; version=0.0.4")


async def _failure(check: Awaitable[None]) -> str | None:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check
    except Refusal as refusal:
        return str(refusal)
    except TimeoutError:
        return f"no answer within {CHECK_SECONDS:g} s"
    return None


async def _worker(sv: Services) -> None:
    if not await sv.queue.worker_alive():
        raise Unavailable("no worker has given a sign of life")


async def _engine(sv: Services) -> tuple[bool, str]:
    """Whether a replica answers, or none is configured; and what to say of those that do not."""
    if (engine := sv.catalog.engine) is None:
        return True, "ok (none configured)"
    failures = await asyncio.gather(
        *(_failure(Engine(sv.upstreams, url, engine.api_key).health()) for url in engine.base_urls)
    )
    down = {url: failure for url, failure in zip(engine.base_urls, failures, strict=True) if failure}
    if len(down) == len(engine.base_urls):
        return False, " ".join(dict.fromkeys(down.values()))
    told = [f"{url} is down: {failure}" for url, failure in down.items()]
    told += [f"{url} sleeps while a training runs" for url in engine.base_urls if sv.residency.is_asleep(url)]
    return True, f"ok ({' '.join(told)})" if told else "ok"


def _parts(sv: Services) -> dict[str, Any]:
    try:
        return json.loads((sv.settings.data_dir / PARTS_FILE).read_text())["parts"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
