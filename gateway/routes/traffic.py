"""/v1/organization/traffic, and the same of one project (an extension)."""

from collections.abc import Mapping

from litestar import get
from litestar.params import FromPath, QueryParams

from gateway.errors import InvalidRequest, MissingParameter
from gateway.keys.repository import names as key_names
from gateway.kit.clock import now, unix
from gateway.kit.money import usd_from_nano
from gateway.metering.time_buckets import SECONDS, Buckets
from gateway.metering.traffic_report import TOTAL, Asked, Figures, Report, Times, traffic_report
from gateway.metering.traffic_rollups import COUNTS, DIMENSIONS
from gateway.projects import repository as projects
from gateway.protocol.queries import array, choice, flag, integer, text, timestamp
from gateway.protocol.traffic import AnswerTimes, Traffic, TrafficBucket, TrafficReport
from gateway.routes.callers import Admin, Sv
from gateway.services import Services

MOST_BUCKETS = {"1m": 60, "1h": 744, "1d": 366}
MOST_PROJECTS = 100
SAME = [name for name in COUNTS if name not in ("cost_nano", "unpriced")]
"""Columns of the sums that the answer has as they are."""


@get("/v1/organization/traffic")
async def organization_traffic(sv: Sv, admin: Admin, query: QueryParams) -> TrafficReport:
    """From `start_time` (inclusive) to `end_time` (exclusive; without one: now), in buckets of `bucket_width` (1m, 1h, 1d).

    `group_by` is one of project_id, api_key_id, model, upstream, purpose; `group_limit` how many groups are shown, those
    with the most requests; with `totals_only`, nothing is told of single buckets. Filter: project_ids. Raises InvalidRequest.
    """
    ids = array(query, "project_ids")
    if len(ids) > MOST_PROJECTS:
        raise InvalidRequest(f"Invalid 'project_ids': at most {MOST_PROJECTS}.", param="project_ids")
    return await _answer(sv, query, ids)


@get("/v1/organization/projects/{project_id:str}/traffic")
async def project_traffic(sv: Sv, admin: Admin, project_id: FromPath[str], query: QueryParams) -> TrafficReport:
    """The same of one project. Raises NotFound, InvalidRequest."""
    if array(query, "project_ids"):
        raise InvalidRequest("Invalid 'project_ids': the URL says which project; leave it out.", param="project_ids")
    async with sv.database.session() as session:
        await projects.project(session, project_id)
    return await _answer(sv, query, [project_id])


async def _answer(sv: Services, query: QueryParams, project_ids: list[str]) -> TrafficReport:
    asked = Asked(
        buckets=_buckets(query),
        project_ids=project_ids,
        group=choice(query, "group_by", DIMENSIONS, TOTAL) if text(query, "group_by") else TOTAL,
        groups=integer(query, "group_limit", default=10, highest=50),
        totals_only=flag(query, "totals_only"),
    )
    async with sv.database.session() as session:
        report = await traffic_report(session, asked)
        keys = {each.value for each in report.figures} if asked.group == "api_key_id" else set[str]()
        names = await key_names(session, list(keys)) if keys else {}
    return shown(asked, report, names)


def _buckets(query: QueryParams) -> Buckets:
    """Raises InvalidRequest."""
    width = choice(query, "bucket_width", tuple(MOST_BUCKETS), "1h")
    seconds, start, end = SECONDS[width], timestamp(query, "start_time"), timestamp(query, "end_time") or unix(now())
    if start is None:
        raise MissingParameter("start_time")
    if start >= end:
        raise InvalidRequest("Invalid 'start_time': it must be before end_time (by default, now).", param="start_time")
    whole = Buckets(start - start % seconds, -(-end // seconds) * seconds, seconds)
    count = (whole.end - whole.start) // seconds
    if count > MOST_BUCKETS[width]:
        raise InvalidRequest(
            f"Invalid 'bucket_width': {count} buckets of {width} are more than {MOST_BUCKETS[width]}."
            " Choose wider ones, or a shorter time.",
            param="bucket_width",
        )
    return whole


def shown(asked: Asked, report: Report, names: Mapping[str, str]) -> TrafficReport:
    """Args: names: of keys, by id."""
    by_start: dict[int | None, list[Traffic]] = {}
    for each in report.figures:
        by_start.setdefault(each.start, []).append(_shown(asked, each, names))
    return TrafficReport(
        start_time=asked.buckets.start,
        end_time=asked.buckets.end,
        data=[
            TrafficBucket(start_time=start, end_time=end, results=by_start.get(start, []))
            for start, end in asked.buckets
            if not asked.totals_only
        ],
        totals=by_start.get(None, []),
        groups=report.groups,
        complete=report.complete,
    )


def _shown(asked: Asked, each: Figures, names: Mapping[str, str]) -> Traffic:
    result = Traffic(
        **{name: getattr(each, name) for name in SAME},
        cost_nano=each.cost_nano,
        cost_usd=usd_from_nano(each.cost_nano),
        unpriced_requests=each.unpriced,
        latency=_times(each.times.get("latency")),
        first_token=_times(each.times.get("first_token")),
    )
    if asked.group != TOTAL:
        setattr(result, asked.group, each.value if each.value or asked.group == "purpose" else None)
    result.api_key_name = names.get(each.value) if asked.group == "api_key_id" else None
    return result


def _times(times: Times | None) -> AnswerTimes | None:
    if times is None:
        return None
    return AnswerTimes(n=times.n, p50_ms=times.p50, p95_ms=times.p95, p99_ms=times.p99)
