"""/v1/evals/{eval}/runs (contract section 6): runs, and what came out for each item."""

import asyncio
from typing import Any

import msgspec
from litestar import Request, delete, get, post
from litestar.params import FromPath, QueryParams, RawBody
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.pages import fetch_page
from gateway.db.tables import EvalOutputItemRow, EvalRow, EvalRunRow
from gateway.errors import InvalidRequest, MissingParameter, NoEncryptionKey, NotFound
from gateway.evals import calls, criteria, data_sources, output_items, reports, repository, tallies
from gateway.evals.data_sources import MAX_INLINE_BYTES, MAX_OUTPUT_ITEMS, Wrong
from gateway.evals.output_items import SourceItem
from gateway.evals.tallies import Tally
from gateway.files import repository as files
from gateway.keys.ring import ApiKey
from gateway.kit.clock import now, unix
from gateway.kit.ids import new_id
from gateway.kit.money import usd_from_nano
from gateway.protocol.decode import decode
from gateway.protocol.evals import (
    ApiError,
    CriterionResult,
    DataSource,
    DeletedRun,
    EvalRun,
    FileContent,
    JsonlSource,
    ModelUsage,
    OutputItem,
    ResultCounts,
    RunCreate,
)
from gateway.protocol.lists import CursorList, cursor_list
from gateway.protocol.metadata import check_metadata
from gateway.protocol.queries import choice, cursor, integer
from gateway.routes.callers import Caller, Sv
from gateway.routes.evals import fit
from gateway.services import Services
from judges.grade import GraderFailed
from judges.sample import Sample
from judges.templates import render

decode_create = msgspec.json.Decoder(RunCreate)
encode_line = msgspec.json.Encoder().encode

RUNS = "/v1/evals/{eval_id:str}/runs"
RUN = RUNS + "/{run_id:str}"
EVALS = "evals"
NUMBER = "datasource_item_id"
IN_ORDER = (EvalOutputItemRow.number, EvalOutputItemRow.repeat)
AnyRequest = Request[Any, Any, Any]


@post(RUNS, status_code=201)
async def create_run(sv: Sv, caller: Caller, eval_id: FromPath[str], request: AnyRequest, body: RawBody) -> EvalRun:
    """Begins within a second or two. Inline items are held against the eval's schema here, a file's when the run begins."""
    wanted = decode(decode_create, body)
    check_metadata(wanted.metadata)
    async with sv.database.session() as session:
        of = await repository.find(session, caller.project_id, eval_id)
        await _check_file(session, caller.project_id, wanted.data_source)
    await _check(sv, caller, of, wanted)
    row = _row(caller, of, wanted)
    async with sv.database.session() as session:
        await repository.find(session, caller.project_id, eval_id)  # it may be deleted by now
        session.add(row)
        if isinstance(content := wanted.data_source.source, FileContent):
            await session.flush()
            items = [SourceItem(line.item, line.sample) for line in content.content]
            await output_items.add(session, of, row, 0, items)
    return shown(sv, request, of, row, Tally())


@get(RUNS)
async def list_runs(
    sv: Sv, caller: Caller, eval_id: FromPath[str], request: AnyRequest, query: QueryParams
) -> CursorList:
    """Oldest first (order=desc: newest), of one status."""
    rows = repository.runs_of(eval_id)
    if status := choice(query, "status", (*repository.RUN_STATUSES, ""), ""):
        rows = rows.where(EvalRunRow.status == status)
    async with sv.database.session() as session:
        of = await repository.find(session, caller.project_id, eval_id)
        page = await fetch_page(session, rows, EvalRunRow, cursor(query, order="asc"))
        found = [shown(sv, request, of, row, await _tally(session, row)) for row in page.rows]
    return cursor_list(found, has_more=page.has_more)


@get(RUN)
async def retrieve_run(
    sv: Sv, caller: Caller, eval_id: FromPath[str], run_id: FromPath[str], request: AnyRequest
) -> EvalRun:
    """While it runs, its counts are those of this moment."""
    async with sv.database.session() as session:
        of = await repository.find(session, caller.project_id, eval_id)
        row = await repository.find_run(session, caller.project_id, eval_id, run_id)
        return shown(sv, request, of, row, await _tally(session, row))


@post([RUN, RUN + "/cancel"], status_code=200)
async def cancel_run(
    sv: Sv, caller: Caller, eval_id: FromPath[str], run_id: FromPath[str], request: AnyRequest
) -> EvalRun:
    """Both of OpenAI's URLs. What was answered stays; a run that has ended stays as it is."""
    async with sv.database.session() as session:
        of = await repository.find(session, caller.project_id, eval_id)
        row = await repository.find_run(session, caller.project_id, eval_id, run_id)
        await repository.cancel(session, row)
        return shown(sv, request, of, row, await _tally(session, row))


@delete(RUN, status_code=200)
async def delete_run(sv: Sv, caller: Caller, eval_id: FromPath[str], run_id: FromPath[str]) -> DeletedRun:
    async with sv.database.session() as session:
        await repository.delete_run(session, await repository.find_run(session, caller.project_id, eval_id, run_id))
    return DeletedRun(run_id=run_id)


@get(RUN + "/output_items")
async def list_output_items(
    sv: Sv, caller: Caller, eval_id: FromPath[str], run_id: FromPath[str], query: QueryParams
) -> CursorList:
    """Those that have ended, in the order of the data; of one status (pass, fail, and, an extension, error); an extension,
    too: all repeats of one item, by its `datasource_item_id`."""
    status = choice(query, "status", (*repository.GRADED, ""), "")
    rows = repository.graded(run_id, [status] if status else repository.GRADED)
    if query.get(NUMBER, None):
        rows = rows.where(EvalOutputItemRow.number == integer(query, NUMBER, default=0, lowest=0, highest=2**31))
    async with sv.database.session() as session:
        of = await repository.find(session, caller.project_id, eval_id)
        await repository.find_run(session, caller.project_id, eval_id, run_id)
        page = await fetch_page(session, rows, EvalOutputItemRow, cursor(query, order="asc"), order=IN_ORDER)
    reference = reference_of(of)
    return cursor_list([item(row, eval_id, reference) for row in page.rows], has_more=page.has_more)


@get(RUN + "/output_items/{output_item_id:str}")
async def retrieve_output_item(
    sv: Sv, caller: Caller, eval_id: FromPath[str], run_id: FromPath[str], output_item_id: FromPath[str]
) -> OutputItem:
    async with sv.database.session() as session:
        of = await repository.find(session, caller.project_id, eval_id)
        await repository.find_run(session, caller.project_id, eval_id, run_id)
        return item(await repository.find_item(session, run_id, output_item_id), eval_id, reference_of(of))


def shown(sv: Services, request: AnyRequest, of: EvalRow, row: EvalRunRow, found: Tally) -> EvalRun:
    return EvalRun(
        id=row.id,
        eval_id=row.eval_id,
        status=row.status,
        model=row.model or "",
        name=row.name,
        created_at=unix(row.created_at),
        report_url=_report_url(sv, request, row),
        result_counts=ResultCounts(
            total=row.total or 0, errored=found.errored, failed=found.failed, passed=found.passed
        ),
        per_model_usage=[
            ModelUsage(
                model_name=each.model,
                invocation_count=each.calls,
                prompt_tokens=each.prompt,
                completion_tokens=each.completion,
                total_tokens=each.prompt + each.completion,
                cached_tokens=each.cached,
                cost_usd=usd_from_nano(each.cost_nano) if each.priced == each.calls else None,
            )
            for each in found.usage
        ],
        per_testing_criteria_results=[_criterion(each, found) for each in of.testing_criteria],
        data_source=row.data_source,
        metadata=row.request_metadata,
        error=ApiError(**row.error) if row.error else ApiError(),
        repeats=row.repeats,
        finished_at=unix(row.finished_at) if row.finished_at else None,
        metrics=(row.result or {}).get("metrics"),
    )


def reference_of(of: EvalRow) -> str | None:
    """The template of the right answer."""
    return criteria.reference(criteria.read(of.testing_criteria), reports.metrics_of(of))


def item(row: EvalOutputItemRow, eval_id: str, reference: str | None) -> OutputItem:
    """Args: reference: a template."""
    measured = [each for each in row.results or [] if each["passed"] is not None]
    failed = [each for each in row.results or [] if each["passed"] is None]
    metrics = row.metrics or {}
    return OutputItem(
        id=row.id,
        run_id=row.run_id,
        eval_id=eval_id,
        created_at=unix(row.finished_at or row.created_at),
        status=row.status,
        datasource_item_id=row.number,
        datasource_item=row.item,
        results=measured,
        sample=row.sample or {},
        repeat=row.repeat,
        metrics=metrics.get("numbers", {}),
        errors=[_error(each) for each in failed],
        exchange_id=row.exchange_id,
        reference=_rendered(reference, row.item),
        duration_ms=metrics.get("took_ms"),
        cost_usd=_cost(metrics.get("usage", {})),
    )


def _error(result: dict[str, Any]) -> dict[str, Any]:
    call = {name: id for name, id in (result["sample"] or {}).items() if name == "exchange_id"}
    return {"name": result["name"], "type": result["type"], **result["error"], **call}


def _rendered(template: str | None, of: dict[str, Any]) -> str | None:
    """None where the item does not have it, also because it was erased."""
    if template is None:
        return None
    try:
        return render(template, Sample(""), of).text
    except GraderFailed:
        return None


def _cost(usage: dict[str, Any]) -> float | None:
    """Of the calls for an item. Dollars."""
    if not usage or any(each.get("priced") != each["calls"] for each in usage.values()):
        return None
    return usd_from_nano(sum(each["cost"] for each in usage.values()))


def _criterion(stored: dict[str, Any], found: Tally) -> CriterionResult:
    counts = found.criteria.get(stored["id"], tallies.CriterionTally())
    return CriterionResult(
        testing_criteria=stored["id"],
        passed=counts.passed,
        failed=counts.failed,
        name=stored["name"],
        errored=counts.errored,
    )


def _report_url(sv: Services, request: AnyRequest, row: EvalRunRow) -> str:
    """Its page in the console, under the address that the console is known by, else that of this call."""
    base = sv.settings.console.url.rstrip("/") or f"{request.url.scheme}://{request.url.netloc}"
    return f"{base}/console/projects/{row.project_id}/evals/{row.eval_id}/runs/{row.id}"


def _row(caller: ApiKey, of: EvalRow, wanted: RunCreate) -> EvalRunRow:
    content, model = wanted.data_source.source, data_sources.wants_model(wanted.data_source)
    return EvalRunRow(
        id=new_id("evalrun_"),
        eval_id=of.id,
        project_id=caller.project_id,
        api_key_id=caller.id,
        name=wanted.name or model or "Untitled run",
        model=model,
        data_source=data_sources.shown(msgspec.to_builtins(wanted.data_source)),
        repeats=wanted.repeats,
        request_metadata=wanted.metadata,
        status="queued",
        total=len(content.content) * wanted.repeats if isinstance(content, FileContent) else None,
        created_at=now(),
    )


async def _tally(session: AsyncSession, row: EvalRunRow) -> Tally:
    return tallies.read(row.result) if row.result else await tallies.tally(session, row.id)


async def _check_file(session: AsyncSession, project_id: str, source: DataSource) -> None:
    """Raises InvalidRequest."""
    file_id = data_sources.file_id(source)
    if file_id is None:
        return
    param = "data_source.source.id"
    try:
        file = await files.find(session, project_id, file_id)
    except NotFound:
        raise InvalidRequest(f"Invalid '{param}': no such file: {file_id}.", param=param) from None
    if file.purpose != EVALS:
        raise InvalidRequest(
            f"Invalid '{param}': the file {file_id} has the purpose '{file.purpose}'; upload it with purpose 'evals'.",
            param=param,
        )


async def _check(sv: Services, caller: ApiKey, of: EvalRow, wanted: RunCreate) -> None:
    """Raises InvalidRequest, NoEncryptionKey, ModelNotFound."""
    source = wanted.data_source
    has_schema = of.data_source_config["type"] == "custom"
    try:
        data_sources.check(source, has_schema=has_schema)
        if not isinstance(source, JsonlSource):
            for path, message in calls.problems(source)[:1]:
                raise Wrong(path, message)
    except Wrong as wrong:
        raise _refusal(wrong) from None
    model = data_sources.wants_model(source)
    if not sv.sealer and (model or any(each.is_judge for each in criteria.read(of.testing_criteria))):
        raise NoEncryptionKey("the key that evals ask models with")
    if model:
        caller.require_model(model)
        await sv.names.plan(model, caller.project_id)
    if isinstance(source.source, FileContent):
        lines = await asyncio.to_thread(_lines, source.source)
        if len(lines) * wanted.repeats > MAX_INLINE_BYTES:
            raise _refusal(Wrong("source.content", "it is too large to be repeated so often; upload it as a file"))
        schema = of.data_source_config["schema"]["properties"]["item"]
        await fit(sv, schema, lines, max_lines=MAX_OUTPUT_ITEMS // wanted.repeats)


def _refusal(wrong: Wrong) -> InvalidRequest:
    param = f"data_source.{wrong.path}"
    if wrong.message is None:
        return MissingParameter(param)
    return InvalidRequest(f"Invalid '{param}': {wrong.message}.", param=param)


def _lines(content: FileContent) -> bytes:
    return b"\n".join(encode_line(line) for line in content.content)
