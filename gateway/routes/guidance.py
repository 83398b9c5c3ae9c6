"""/v1/guidance (an extension): what fails most in a project, where, since when, and what to do about it."""

import logging
from collections.abc import Sequence

import msgspec
from litestar import get, post
from litestar.params import QueryParams, RawBody

from gateway import inference
from gateway.db.tables import GuidanceReportRow
from gateway.errors import Conflict, Unavailable, UpstreamRefused
from gateway.grading.chat import is_about_structure
from gateway.guidance import opinion, repository
from gateway.inference import CHAT_COMPLETIONS, Call, Reply
from gateway.keys.ring import ApiKey
from gateway.kit.clock import now, unix
from gateway.kit.ids import new_request_id
from gateway.protocol.decode import decode
from gateway.protocol.guidance import (
    Cluster,
    Guidance,
    GuidanceFilters,
    GuidanceSummary,
    Report,
    SummaryCreate,
)
from gateway.protocol.queries import text, timestamp
from gateway.routes.callers import Caller, Sv
from gateway.routes.guidance_objects import with_texts
from gateway.services import Services

log = logging.getLogger(__name__)

TASK = "guide_project"
PURPOSE = "guidance"
"""Of the call: no judge judges it, and nothing is learnt from it."""
LOGGED = "metadata"
"""What the log keeps of it: it repeats answers of others, which may be erased one day."""
decode_create = msgspec.json.Decoder(SummaryCreate)


@get("/v1/guidance")
async def retrieve_guidance(sv: Sv, caller: Caller, query: QueryParams) -> Guidance:
    """The newest report; a worker makes it, so the first answer is `computing`. Filters: model, route, created_after,
    created_before.

    Raises:
        Unavailable: there is none yet, and nobody can be asked to make one.
    """
    return await _guidance(sv, caller.project_id, read_filters(query))


@post("/v1/guidance/summary", status_code=200)
async def create_summary(sv: Sv, caller: Caller, body: RawBody) -> GuidanceSummary:
    """What a model thinks is behind the clusters: the caller's own call, bounded in tokens, of which the log keeps no text.

    Raises:
        Conflict: there is no report yet, or nothing fails.
        UpstreamFailed: the model's answer cannot be used.
        Whatever a chat completion raises.
    """
    wanted = decode(decode_create, body)
    found = await _guidance(sv, caller.project_id, wanted.filters)
    if found.as_of is None:
        raise Conflict("The clusters are being computed; ask again in a few seconds.")
    if not found.data:
        raise Conflict("Nothing fails in what was looked at, so that there is nothing to ask about.")
    shown = found.data[: opinion.MOST_CLUSTERS]
    key, exchange_id, reply = await _asked(sv, caller, wanted.model, shown)
    said = opinion.read(reply, key, {each.id for each in shown})
    return GuidanceSummary(
        created_at=unix(now()),
        as_of=found.as_of,
        model=wanted.model,
        exchange_id=exchange_id,
        summary=said.summary,
        causes=said.causes,
    )


def read_filters(query: QueryParams) -> GuidanceFilters:
    """Raises InvalidRequest."""
    return GuidanceFilters(
        model=text(query, "model"),
        route=text(query, "route"),
        created_after=timestamp(query, "created_after"),
        created_before=timestamp(query, "created_before"),
    )


async def _guidance(sv: Services, project_id: str, filters: GuidanceFilters) -> Guidance:
    async with sv.database.session() as session:
        row, is_due = await repository.ask(session, project_id, filters)
        report = msgspec.convert(row.report, Report) if row.report is not None else None
        clusters = await with_texts(session, report.clusters) if report else []
    if is_due:
        await _ask_worker(sv, row)
    return Guidance(
        status="ready" if report else "computing",
        as_of=unix(row.computed_at) if row.computed_at and report else None,
        refreshing=bool(report) and is_due,
        filters=filters,
        looked_at=report.looked_at if report else None,
        data=clusters,
        missing=report.missing if report else [],
    )


async def _ask_worker(sv: Services, row: GuidanceReportRow) -> None:
    """Not twice at a time. Raises Unavailable where there is nothing to show meanwhile."""
    try:
        await sv.queue.enqueue(
            TASK, row.project_id, row.filters_key, unique=f"{TASK}:{row.project_id}:{row.filters_key}"
        )
    except Unavailable:
        if row.report is None:
            raise
        log.warning("guidance of %s is not refreshed: the task queue is away", row.project_id)


async def _asked(sv: Services, caller: ApiKey, model: str, clusters: Sequence[Cluster]) -> tuple[str, str, bytes]:
    """The key of the question, the exchange and the reply. A model that cannot be held to a schema is asked without."""
    try:
        return await _call(sv, caller, model, clusters, structured=True)
    except UpstreamRefused as refusal:
        if not is_about_structure(refusal):
            raise
        return await _call(sv, caller, model, clusters, structured=False)


async def _call(
    sv: Services, caller: ApiKey, model: str, clusters: Sequence[Cluster], *, structured: bool
) -> tuple[str, str, bytes]:
    key, request_id = opinion.new_key(), new_request_id()
    logging_policy = caller.logging if caller.logging == "off" else LOGGED
    asker = msgspec.structs.replace(caller, purpose=PURPOSE, logging=logging_policy)
    body = opinion.question(model, clusters, key, structured=structured)
    reply = await inference.run(sv, Call(CHAT_COMPLETIONS, None, body, request_id, key=asker))
    assert isinstance(reply, Reply)
    return key, request_id, reply.body
