"""/v1/judgments (an extension): reading what people, rules and models said, and bringing what other systems say."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import get_args

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, QueryParams, RawBody
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.pages import fetch_page
from gateway.db.tables import CriterionRow, JudgmentRow
from gateway.errors import InvalidRequest, Refusal
from gateway.judgments import criteria, queries, repository
from gateway.judgments.queries import JudgmentFilters
from gateway.judgments.summary import GROUPS, METADATA, summary
from gateway.judgments.verdict import Source, Status, Verdict
from gateway.judgments.words import Answers, check_judgment, judgment_verdict
from gateway.keys.ring import ApiKey
from gateway.kit.clock import from_unix
from gateway.kit.keyed_hash import end_user_hash
from gateway.protocol.decode import decode
from gateway.protocol.judgments import Judgment, JudgmentCreate, JudgmentsCreate, Summary, Written
from gateway.protocol.lists import CursorList, Deleted, cursor_list
from gateway.protocol.queries import array, choice, cursor, flag, integer, text, timestamp
from gateway.routes.callers import Caller, Sv
from gateway.routes.feedback import speaker_of, with_other
from gateway.routes.judgment_objects import judgments, judgments_with
from gateway.routes.new_exchanges import exchanges_named, not_in_the_log
from gateway.services import Services

BY_ID = (JudgmentRow.id,)
"""Ids sort by time."""
MOST = 1000
"""In one call."""
MOST_GROUPS, MOST_LATEST = 4, 100_000
SOURCES: tuple[str, ...] = get_args(Source)
STATUSES: tuple[str, ...] = get_args(Status)

decode_create = msgspec.json.Decoder(JudgmentsCreate)


@get("/v1/judgments")
async def list_judgments(sv: Sv, caller: Caller, query: QueryParams) -> CursorList:
    """Newest first, those in force (history=true: also what was superseded or retracted). Filters: exchange, criterion (name
    or id), source, judge, annotator, user, status, label, passed, tag, eval_run, created_after, created_before."""
    rows = queries.matching(caller.project_id, await read_filters(sv, caller, query))
    async with sv.database.session() as session:
        page = await fetch_page(session, rows, JudgmentRow, cursor(query), order=BY_ID)
        shown = await judgments(session, page.rows)
    return cursor_list(shown, has_more=page.has_more)


@get("/v1/judgments/summary")
async def summarize_judgments(sv: Sv, caller: Caller, query: QueryParams) -> Summary:
    """Means with intervals and how much they cover, by criterion version and source and by whatever `group_by` names: model,
    route, day, judge, judge_version, label, tag, end_user, metadata.<key>. Filters as in the list."""
    filters = await read_filters(sv, caller, query)
    if filters.history:
        raise InvalidRequest("Invalid 'history': a summary is of the judgments in force.", param="history")
    groups, latest = _groups(query), integer(query, "latest", default=0, lowest=0, highest=MOST_LATEST)
    counts = choice(query, "counts", ("true", "false"), "true") == "true"
    async with sv.database.session() as session:
        return await summary(session, caller.project_id, filters, groups, latest=latest or None, counts=counts)


@get("/v1/judgments/{judgment_id:str}")
async def retrieve_judgment(sv: Sv, caller: Caller, judgment_id: FromPath[str]) -> Judgment:
    async with sv.database.session() as session:
        row = await queries.find(session, caller.project_id, judgment_id)
        [shown] = await judgments(session, [row])
    return shown


@delete("/v1/judgments/{judgment_id:str}", status_code=200)
async def retract_judgment(sv: Sv, caller: Caller, judgment_id: FromPath[str]) -> Deleted:
    """Takes it back: nothing is removed, a row that says so takes its place."""
    async with sv.database.session() as session:
        row = await queries.find(session, caller.project_id, judgment_id)
        await repository.retract(session, row, caller.id)
    return Deleted(id=judgment_id, object="judgment.deleted")


@post("/v1/judgments", status_code=200)
async def create_judgments(sv: Sv, caller: Caller, body: RawBody) -> Written:
    """Up to 1,000 that other systems or people made; all of them are written, or none."""
    wanted = decode(decode_create, body).judgments
    if not 1 <= len(wanted) <= MOST:
        raise InvalidRequest(f"Invalid 'judgments': 1 to {MOST:,} in one call.", param="judgments")
    for number, each in enumerate(wanted):
        with _naming(number):
            check_judgment(each)
    names = {name for each in wanted for name in (each.exchange_id, each.other_id) if name is not None}
    found = await exchanges_named(sv, caller.project_id, names)
    async with sv.database.session() as session:
        verdicts = await _verdicts(session, sv, caller, wanted, found)
        shown = await judgments_with(session, await repository.add(session, verdicts))
    return Written(data=shown)


async def _verdicts(
    session: AsyncSession, sv: Services, caller: ApiKey, wanted: Sequence[JudgmentCreate], found: dict[str, str]
) -> list[Verdict]:
    """Raises InvalidRequest, NotFound: the field is named with its place."""
    known: dict[str, CriterionRow] = {}
    verdicts: list[Verdict] = []
    for number, each in enumerate(wanted):
        with _naming(number):
            answers = _answers(each, found)
            if each.criterion not in known:
                known[each.criterion] = await criteria.by_name(session, caller.project_id, each.criterion)
            speaker = speaker_of(sv, caller, each.user)
            verdicts.append(judgment_verdict(each, known[each.criterion], speaker, answers))
    return verdicts


def _answers(wanted: JudgmentCreate, found: dict[str, str]) -> Answers:
    for param, name in (("exchange_id", wanted.exchange_id), ("other_id", wanted.other_id)):
        if name is not None and name not in found:
            raise not_in_the_log(name, param)
    answers = Answers(found[wanted.exchange_id], wanted.choice_index)
    return with_other(answers, found[wanted.other_id], wanted.other_choice_index) if wanted.other_id else answers


@contextmanager
def _naming(number: int) -> Generator[None]:
    """Adds the place in the list to the field that a refusal names."""
    try:
        yield
    except Refusal as refusal:
        place = f"judgments[{number}]"
        refusal.param = f"{place}.{refusal.param}" if refusal.param else place
        raise


async def read_filters(sv: Services, caller: ApiKey, query: QueryParams) -> JudgmentFilters:
    """Raises InvalidRequest."""
    exchange = text(query, "exchange")
    if exchange is not None:
        found = await exchanges_named(sv, caller.project_id, {exchange}, patient=False)
        exchange = found.get(exchange, exchange)
    after, before = timestamp(query, "created_after"), timestamp(query, "created_before")
    user = text(query, "user")
    secret_key = sv.settings.secret_key.reveal()
    return JudgmentFilters(
        exchange_id=exchange,
        criterion=text(query, "criterion"),
        source=choice(query, "source", SOURCES, "") if text(query, "source") else None,
        judge_id=text(query, "judge"),
        annotator_id=text(query, "annotator"),
        end_user=end_user_hash(user, caller.project_id, secret_key) if user else None,
        eval_run_id=text(query, "eval_run"),
        status=choice(query, "status", STATUSES, "") if text(query, "status") else None,
        label=text(query, "label"),
        passed=flag(query, "passed") if text(query, "passed") else None,
        tag=text(query, "tag"),
        created_after=from_unix(after) if after is not None else None,
        created_before=from_unix(before) if before is not None else None,
        history=flag(query, "history"),
    )


def _groups(query: QueryParams) -> list[str]:
    """`group_by=model&group_by=day`, `group_by[]=...` and `group_by=model,day`. Raises InvalidRequest."""
    names = [name.strip() for each in array(query, "group_by") for name in each.split(",") if name.strip()]
    for name in names:
        if name not in GROUPS and name != "tag" and not (name.startswith(METADATA) and len(name) > len(METADATA)):
            raise InvalidRequest(
                f"Invalid 'group_by': '{name[:50]}' is not one of {', '.join(GROUPS)}, tag, metadata.<key>.",
                param="group_by",
            )
    if len(names) > MOST_GROUPS or len(set(names)) < len(names):
        raise InvalidRequest(f"Invalid 'group_by': at most {MOST_GROUPS} different ones.", param="group_by")
    return names
