"""/v1/judges (an extension): rules and models that judge answers. A change of what a judge does makes its next version."""

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, QueryParams, RawBody
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.pages import fetch_page
from gateway.db.tables import CriterionRow, JudgeRow, JudgeVersionRow
from gateway.errors import ECHO_LIMIT, InvalidRequest, NoEncryptionKey, NotFound
from gateway.exchanges import repository as exchanges
from gateway.judging import repository, specs, watching, work
from gateway.judgments import criteria
from gateway.keys.ring import ApiKey
from gateway.kit.clock import now
from gateway.protocol.criteria import CriterionSpec
from gateway.protocol.decode import decode
from gateway.protocol.judges import (
    Judge,
    JudgeCreate,
    JudgeUpdate,
    JudgingRequest,
    JudgingRequested,
)
from gateway.protocol.lists import CursorList, Deleted, cursor_list
from gateway.protocol.queries import cursor, flag
from gateway.routes.callers import Caller, Sv
from gateway.routes.judge_objects import judge, judge_version

MOST_AT_ONCE = 1000
ONE = "/v1/judges/{judge_id:str}"

decode_create = msgspec.json.Decoder(JudgeCreate)
decode_update = msgspec.json.Decoder(JudgeUpdate)
decode_request = msgspec.json.Decoder(JudgingRequest)


@get("/v1/judges")
async def list_judges(sv: Sv, caller: Caller, query: QueryParams) -> CursorList:
    """Newest first, without those that are archived (archived=true: with them)."""
    rows = repository.judges(caller.project_id, include_archived=flag(query, "archived"))
    async with sv.database.session() as session:
        page = await fetch_page(session, rows, JudgeRow, cursor(query))
        versions = await repository.versions_in_force(session, page.rows)
        known = await repository.criteria_of(session, list(versions.values()))
    shown = [judge(row, versions[row.id], known[versions[row.id].criterion_id]) for row in page.rows]
    return cursor_list(shown, has_more=page.has_more)


@post("/v1/judges", status_code=200)
async def create_judge(sv: Sv, caller: Caller, body: RawBody) -> Judge:
    """Raises Conflict: the name is taken."""
    wanted = decode(decode_create, body)
    specs.check_name(wanted.name)
    if specs.kind_of(wanted.spec) == "llm" and not sv.sealer:
        raise NoEncryptionKey("the key that judges ask with")
    async with sv.database.session() as session:
        row_criterion = await _criterion(session, caller, specs.criterion_or_own(wanted))
        spec = specs.check(wanted.spec, row_criterion)
        watch = specs.check_watch(wanted.watch, row_criterion)
        row = await repository.create(
            session,
            caller.project_id,
            wanted.name,
            specs.kind_of(spec),
            watch=watching.begin(watch, now()),
            min_kappa=specs.check_min_kappa(wanted.min_kappa),
        )
        version = await repository.add_version(session, row, row_criterion, specs.stored(spec), caller.id)
    return judge(row, version, row_criterion)


@get(ONE)
async def retrieve_judge(sv: Sv, caller: Caller, judge_id: FromPath[str]) -> Judge:
    """By its id or its name; also an archived one, by its id."""
    async with sv.database.session() as session:
        row = await repository.judge(session, caller.project_id, judge_id)
        return await _shown(session, row)


@post(ONE, status_code=200)
async def update_judge(sv: Sv, caller: Caller, judge_id: FromPath[str], body: RawBody) -> Judge:
    """Another spec or criterion makes the next version, which judges from now on; nothing else does.

    Raises Conflict: it is archived, or the new name is taken.
    """
    fields = decode(decode_update, body)
    async with sv.database.session() as session:
        row = await repository.changeable(session, caller.project_id, judge_id)
        if isinstance(fields.name, str):
            await repository.rename(session, row, specs.check_name(fields.name))
        version, criterion = await _change_version(session, caller, row, fields)
        if fields.watch is not msgspec.UNSET or row.watch is not None:
            _change_watch(row, fields, criterion)
        if not isinstance(fields.min_kappa, msgspec.UnsetType):
            row.min_kappa = specs.check_min_kappa(fields.min_kappa)
        row.updated_at = now()
    return judge(row, version, criterion)


@delete(ONE, status_code=200)
async def archive_judge(sv: Sv, caller: Caller, judge_id: FromPath[str]) -> Deleted:
    """It judges nothing any more, and its name is free; what it said stays."""
    async with sv.database.session() as session:
        row = await repository.judge(session, caller.project_id, judge_id)
        if row.archived_at is None:
            await repository.archive(session, row)
            await work.remove_waiting(session, row.id)
    return Deleted(id=row.id, object="judge.deleted")


@get(f"{ONE}/versions")
async def list_versions(sv: Sv, caller: Caller, judge_id: FromPath[str], query: QueryParams) -> CursorList:
    """Newest first."""
    async with sv.database.session() as session:
        row = await repository.judge(session, caller.project_id, judge_id)
        page = await fetch_page(session, repository.versions(row.id), JudgeVersionRow, cursor(query))
        known = await repository.criteria_of(session, page.rows)
    shown = [judge_version(each, known[each.criterion_id]) for each in page.rows]
    return cursor_list(shown, has_more=page.has_more)


@post(f"{ONE}/judge", status_code=200)
async def request_judging(sv: Sv, caller: Caller, judge_id: FromPath[str], body: RawBody) -> JudgingRequested:
    """Have answers, or pairs of answers, judged by the version in force; the judgments follow (GET /v1/judgments).

    Raises:
        NotFound: there is no such exchange; one of the last second may not be in the log yet.
        Conflict: the judge is archived.
    """
    wanted = decode(decode_request, body)
    async with sv.database.session() as session:
        row = await repository.changeable(session, caller.project_id, judge_id)
        version = await repository.version(session, row)
        criterion = await session.get_one(CriterionRow, version.criterion_id)
        _check_request(wanted, criterion)
        ids = [*wanted.exchange_ids, *(id for pair in wanted.pairs for id in pair)]
        known = await exchanges.ids_of(session, caller.project_id, ids)
        if missing := [id for id in ids if id not in known]:
            message = f"No exchange with id '{missing[0][:ECHO_LIMIT]}' is in the log (yet)."
            raise NotFound(message, param="exchange_ids")
        singles: list[tuple[str, str | None]] = [(known[id], None) for id in wanted.exchange_ids]
        pairs = [(known[first], known[second]) for first, second in wanted.pairs]
        _check_pairs(pairs)
        queued = await work.request(session, version, row.project_id, [*singles, *pairs], specs.repeats_of(version))
    return JudgingRequested(judge_version_id=version.id, queued=queued)


def _check_request(wanted: JudgingRequest, criterion: CriterionRow) -> None:
    """Raises InvalidRequest."""
    count = len(wanted.exchange_ids) + len(wanted.pairs)
    if not 1 <= count <= MOST_AT_ONCE:
        raise InvalidRequest(
            f"Invalid 'exchange_ids': 1 to {MOST_AT_ONCE} at a time, not {count}.", param="exchange_ids"
        )
    compares = criterion.kind == "pairwise"
    if compares and wanted.exchange_ids:
        raise InvalidRequest("Invalid 'exchange_ids': this judge compares; give it 'pairs'.", param="exchange_ids")
    if not compares and wanted.pairs:
        raise InvalidRequest(
            "Invalid 'pairs': this judge judges single answers; give it 'exchange_ids'.", param="pairs"
        )


def _check_pairs(pairs: list[tuple[str, str]]) -> None:
    """Raises InvalidRequest."""
    for place, (first, second) in enumerate(pairs):
        if first == second:
            raise InvalidRequest(f"Invalid 'pairs[{place}]': both are the same answer.", param=f"pairs[{place}]")


async def _criterion(session: AsyncSession, caller: ApiKey, named: str | CriterionSpec) -> CriterionRow:
    """Raises InvalidRequest."""
    if isinstance(named, CriterionSpec):
        return await criteria.find_or_make(session, caller.project_id, named, caller.id)
    return await criteria.named(session, caller.project_id, named)


async def _change_version(
    session: AsyncSession, caller: ApiKey, row: JudgeRow, fields: JudgeUpdate
) -> tuple[JudgeVersionRow, CriterionRow]:
    """The version in force after this, and its criterion."""
    version = await repository.version(session, row)
    criterion = await session.get_one(CriterionRow, version.criterion_id)
    if isinstance(fields.criterion, msgspec.UnsetType) and isinstance(fields.spec, msgspec.UnsetType):
        return version, criterion
    if not isinstance(fields.criterion, msgspec.UnsetType):
        criterion = await _criterion(session, caller, fields.criterion)
    given = specs.read(version.spec) if isinstance(fields.spec, msgspec.UnsetType) else fields.spec
    spec = specs.check(given, criterion)
    if specs.kind_of(spec) != row.kind:
        raise InvalidRequest(f"Invalid 'spec.type': a judge of the kind {row.kind} stays one.", param="spec.type")
    return await repository.add_version(session, row, criterion, specs.stored(spec), caller.id), criterion


def _change_watch(row: JudgeRow, fields: JudgeUpdate, criterion: CriterionRow) -> None:
    """Other rules hold from now on; the same ones go on as they were. Raises InvalidRequest."""
    current = watching.watched(row)
    before = current.watch if current else None
    after = specs.check_watch(before if isinstance(fields.watch, msgspec.UnsetType) else fields.watch, criterion)
    if after != before:
        row.watch, row.watched_until = watching.begin(after, now()), None


async def _shown(session: AsyncSession, row: JudgeRow) -> Judge:
    version = await repository.version(session, row)
    return judge(row, version, await session.get_one(CriterionRow, version.criterion_id))
