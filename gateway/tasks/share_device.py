"""One device for training and serving: the engine sleeps while a training runs (`engine.sharing = "sleep"`).

    calls go elsewhere -> the engine finishes its answers and sleeps -> training -> it wakes -> adapters are probed again

It wakes after each training, before what was trained is published: a job has succeeded when its model answers. So calls are
served between two jobs, too; the next one puts it to sleep again. A worker that dies leaves it asleep: once no job is leased
any more, the next round of reconcile_adapters wakes it.
"""

import asyncio
import logging

from gateway.errors import Refusal, UpstreamRefused
from gateway.fine_tuning import claims
from gateway.fine_tuning.repository import add_event
from gateway.services import WorkerServices
from gateway.serving import repository
from gateway.tasks.replicas import MIRROR_SECONDS, engine_at

log = logging.getLogger(__name__)

SLEPT = "the replica slept"
NO_SLEEP = (
    "The engine does not give its memory away ({reason}). Start vLLM with --enable-sleep-mode and VLLM_SERVER_DEV_MODE=1, or set"
    ' [engine] sharing = "separate". This training shares the memory with it.'
)


def shares(wv: WorkerServices) -> bool:
    return wv.settings.engine.sharing == "sleep"


async def put_to_sleep(wv: WorkerServices, job_id: str) -> None:
    """Every replica, before a training. One that cannot sleep goes on serving, and the job's events say so.

    Raises:
        Unavailable: the database is away.
    """
    if shares(wv):
        await asyncio.gather(*(_put_to_sleep(wv, url, job_id) for url in wv.settings.engine.urls))


async def _put_to_sleep(wv: WorkerServices, url: str, job_id: str) -> None:
    async with wv.database.session() as session:
        await repository.set_state(session, url, "asleep")
    await asyncio.sleep(MIRROR_SECONDS)  # every gateway process sends its calls elsewhere
    try:
        await engine_at(wv, url).sleep()
        log.info("%s sleeps while %s is trained", url, job_id)
    except Refusal as refusal:
        log.warning("%s does not sleep: %s", url, refusal)
        async with wv.database.session() as session:
            await repository.set_state(session, url, "up")  # one that is down is noticed by its watcher
            if isinstance(refusal, UpstreamRefused):
                await add_event(session, job_id, "no-sleep", NO_SLEEP.format(reason=refusal), level="warn")


async def wake(wv: WorkerServices, job_id: str | None = None) -> None:
    """Every replica, unless another training needs the memory; whatever fails here is tried again by reconcile_adapters.

    Args:
        job_id: whose training has ended.
    """
    if not shares(wv):
        return
    try:
        async with wv.database.session() as session:
            if await claims.any_training(session, but=job_id):
                return
        await asyncio.gather(*(wake_one(wv, url) for url in wv.settings.engine.urls))
    except Refusal as refusal:
        log.warning("the engine is woken later: %s", refusal)


async def wake_one(wv: WorkerServices, url: str) -> None:
    """Awake, it gets calls again; its adapters do once they are probed again. Raises UpstreamFailed, Unavailable."""
    engine = engine_at(wv, url)
    if await engine.is_sleeping():
        await engine.wake_up()
        log.info("%s is awake", url)
    async with wv.database.session() as session:
        rows = await repository.replicas(session, [url])
        if url not in rows or rows[url].state != "asleep":
            return
        loaded = await repository.loaded_on(session, url)
        ready = [model_id for model_id, row in loaded.items() if row.state == "ready"]
        await repository.set_lost(session, url, ready, SLEPT)
    async with wv.database.session() as session:  # then: nothing gets calls that was not probed
        await repository.set_state(session, url, "up")
