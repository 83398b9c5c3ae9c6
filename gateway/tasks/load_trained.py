"""What a job has trained is loaded on every replica and probed, before the job has succeeded."""

import asyncio
import logging

from gateway.db.tables import ModelRow
from gateway.errors import Refusal
from gateway.fine_tuning.lease import Lease
from gateway.fine_tuning.runner import Stopped
from gateway.services import WorkerServices
from gateway.serving.repository import Outcome
from gateway.tasks.pauses import Pauses
from gateway.tasks.place_models import load_and_probe
from gateway.tasks.replicas import engine_at

log = logging.getLogger(__name__)

FAILURES = 3
"""A healthy engine that fails this often without a reason that is known to last does not take it."""
PASSING = ("other", "probe_failed")
"""Failures that may be the engine's own for a moment."""


async def load_everywhere(wv: WorkerServices, lease: Lease, model: ModelRow, pauses: Pauses) -> dict[str, Outcome]:
    """On all replicas at once, until the first is ready, and a little longer for the others.

    Those that take longer are left to reconcile_adapters: they get no traffic for it until then. One that is away is
    waited for, but not for ever.

    Returns:
        Base URL -> outcome, of the replicas that came to one.

    Raises:
        Stopped: the lease was lost meanwhile.
    """
    tries = {asyncio.ensure_future(_try(wv, url, lease, model, pauses)): url for url in wv.settings.engine.urls}
    try:
        pending = set(tries)
        while pending and not any(_is_ready(each) for each in tries):
            _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        if pending:
            await asyncio.wait(pending, timeout=pauses.load)
        return {url: each.result() for each, url in tries.items() if each.done()}
    finally:
        for each in tries:
            each.cancel()
        await asyncio.gather(*tries, return_exceptions=True)


def _is_ready(each: "asyncio.Future[Outcome]") -> bool:
    """Raises what the try raised."""
    return each.done() and each.result().state == "ready"


async def _try(wv: WorkerServices, url: str, lease: Lease, model: ModelRow, pauses: Pauses) -> Outcome:
    """Again and again while the replica is away. Raises Stopped."""
    failures, outcome = 0, Outcome("lost")
    for _ in range(pauses.load_tries):
        if lease.lost.is_set():
            raise Stopped
        if await _sleeps(wv, url):
            return Outcome("lost")  # for another training, which may take hours
        outcome = await load_and_probe(wv, url, model)
        if outcome.state == "ready" or outcome.problem is None:
            return outcome
        if outcome.state == "failed":
            failures = FAILURES if outcome.problem.code not in PASSING else failures + 1
        if failures >= FAILURES:
            return outcome
        log.warning("%s is not loaded on %s yet: %s", model.id, url, outcome.problem.sentence)
        await asyncio.sleep(pauses.load)
    return outcome


async def _sleeps(wv: WorkerServices, url: str) -> bool:
    if wv.settings.engine.sharing != "sleep":
        return False
    try:
        return await engine_at(wv, url).is_sleeping()
    except Refusal:
        return False
