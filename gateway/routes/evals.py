"""/v1/evals (contract section 6): what is tested, and by which criteria."""

from typing import Any

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, QueryParams, RawBody

from gateway.datasets.isolated import fill, path_of, temporary
from gateway.db.pages import fetch_page
from gateway.db.tables import EvalRow
from gateway.errors import InvalidRequest, MissingParameter
from gateway.evals import criteria, repository
from gateway.evals.data_sources import DIRECTORY
from gateway.evals.judged_by import name_of
from gateway.files.service import one_piece
from gateway.grading import service as grading
from gateway.judgments.criteria import archive as archive_criterion
from gateway.keys.ring import ApiKey
from gateway.kit.clock import now, unix
from gateway.kit.ids import new_id
from gateway.protocol.decode import decode
from gateway.protocol.evals import CustomConfig, DeletedEval, Eval, EvalCreate, EvalUpdate, Metrics
from gateway.protocol.lists import CursorList, cursor_list
from gateway.protocol.metadata import check_metadata
from gateway.protocol.queries import choice, cursor, mapping
from gateway.routes.callers import Caller, Sv
from gateway.routes.graders import unknown_models
from gateway.services import Services
from judges.graders import Multi, Single, TextSimilarity
from judges.templates import problems as template_problems
from judges.validation import lint

decode_create = msgspec.json.Decoder(EvalCreate)
decode_update = msgspec.json.Decoder(EvalUpdate)

UNTITLED = "Untitled eval"
SAMPLE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "model": {"type": "string"},
        "output_text": {"type": "string"},
        "output_json": {},
        "output_tools": {"type": "array", "items": {"type": "object"}},
        "choices": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"message": {"type": "object"}, "finish_reason": {"type": "string"}},
            },
        },
    },
}
"""What graders find under `sample`."""


@post("/v1/evals", status_code=201)
async def create_eval(sv: Sv, caller: Caller, body: RawBody) -> Eval:
    wanted = decode(decode_create, body)
    check_metadata(wanted.metadata)
    graders = [
        await _criterion(sv, caller, raw, f"testing_criteria[{place}]")
        for place, raw in enumerate(wanted.testing_criteria)
    ]
    metrics = wanted.metrics or Metrics()
    _check_metrics(metrics, [each.name for each in graders])
    if isinstance(wanted.data_source_config, CustomConfig):
        await _check_schema(sv, wanted.data_source_config.item_schema)
    moment = now()
    row = EvalRow(
        id=new_id("eval_"),
        project_id=caller.project_id,
        name=wanted.name or UNTITLED,
        data_source_config=_config(wanted),
        testing_criteria=[criteria.with_id(each) for each in graders],
        metrics=msgspec.to_builtins(metrics),
        request_metadata=wanted.metadata,
        created_at=moment,
        updated_at=moment,
    )
    async with sv.database.session() as session:
        session.add(row)
    return shown(row)


@get("/v1/evals")
async def list_evals(sv: Sv, caller: Caller, query: QueryParams) -> CursorList:
    """Oldest first (order=desc: newest), by created_at or updated_at (order_by). An extension: metadata[key]=value."""
    by = choice(query, "order_by", ("created_at", "updated_at"), "created_at")
    order = (EvalRow.updated_at if by == "updated_at" else EvalRow.created_at, EvalRow.id)
    rows = repository.of_project(caller.project_id)
    if wanted := mapping(query, "metadata"):
        rows = rows.where(EvalRow.request_metadata.contains(wanted))
    async with sv.database.session() as session:
        page = await fetch_page(session, rows, EvalRow, cursor(query, order="asc"), order=order)
    return cursor_list([shown(row) for row in page.rows], has_more=page.has_more)


@get("/v1/evals/{eval_id:str}")
async def retrieve_eval(sv: Sv, caller: Caller, eval_id: FromPath[str]) -> Eval:
    async with sv.database.session() as session:
        return shown(await repository.find(session, caller.project_id, eval_id))


@post("/v1/evals/{eval_id:str}", status_code=200)
async def update_eval(sv: Sv, caller: Caller, eval_id: FromPath[str], body: RawBody) -> Eval:
    """Its name and metadata: what is tested stays, so that all its runs can be compared."""
    wanted = decode(decode_update, body)
    async with sv.database.session() as session:
        row = await repository.find(session, caller.project_id, eval_id)
        if wanted.name is not msgspec.UNSET:
            row.name = wanted.name or UNTITLED
        if wanted.metadata is not msgspec.UNSET:
            check_metadata(wanted.metadata)
            row.request_metadata = wanted.metadata
        row.updated_at = now()
    return shown(row)


@delete("/v1/evals/{eval_id:str}", status_code=200)
async def delete_eval(sv: Sv, caller: Caller, eval_id: FromPath[str]) -> DeletedEval:
    """With its runs: those under way end, and what was asked and answered is removed. What its graders said is kept, by
    criteria that are put away."""
    async with sv.database.session() as session:
        row = await repository.find(session, caller.project_id, eval_id)
        await repository.delete_eval(session, row)
        for each in criteria.read(row.testing_criteria):
            await archive_criterion(session, caller.project_id, name_of(each))
    return DeletedEval(eval_id=eval_id)


def shown(row: EvalRow) -> Eval:
    return Eval(
        id=row.id,
        name=row.name,
        data_source_config=row.data_source_config,
        testing_criteria=row.testing_criteria,
        created_at=unix(row.created_at),
        metadata=row.request_metadata,
        metrics=row.metrics,
    )


async def _criterion(sv: Services, caller: ApiKey, raw: Any, path: str) -> Single:
    """Raises InvalidRequest."""
    grader = grading.read(raw, python=sv.python_sandbox is not None, path=path)
    if isinstance(grader, Multi):
        message = "a multi grader is for fine-tuning; list its graders as criteria of their own"
        raise InvalidRequest(f"Invalid '{path}.type': {message}.", param=f"{path}.type")
    if isinstance(grader, TextSimilarity) and grader.pass_threshold is None:
        raise MissingParameter(f"{path}.pass_threshold")
    if problems := lint(grader, path) + await unknown_models(sv, caller, grader, path):
        raise grading.refusal(problems)
    return grader


def _check_metrics(metrics: Metrics, names: list[str]) -> None:
    """Raises InvalidRequest."""
    for name in ("reference", "cluster"):
        if (template := getattr(metrics, name)) is not None:
            for problem in template_problems(template)[:1]:
                raise InvalidRequest(f"Invalid 'metrics.{name}': {problem}.", param=f"metrics.{name}")
    if metrics.primary is not None and names.count(metrics.primary) != 1:
        listed = ", ".join(names) or "none"
        raise InvalidRequest(
            f"Invalid 'metrics.primary': expected the name of one criterion (there are: {listed}). Without it, passing all "
            "of them decides.",
            param="metrics.primary",
        )


def _config(wanted: EvalCreate) -> dict[str, Any]:
    """As it is shown: the schema of what graders' templates find."""
    config = wanted.data_source_config
    item: dict[str, Any] = {"type": "object"}
    properties: dict[str, Any] = {"item": config.item_schema if isinstance(config, CustomConfig) else item}
    with_sample = not isinstance(config, CustomConfig) or config.include_sample_schema
    if with_sample:
        properties["sample"] = SAMPLE_SCHEMA
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    if isinstance(config, CustomConfig):
        return {"type": "custom", "schema": schema}
    check_metadata(config.metadata, "data_source_config.metadata")
    kind = str(config.__struct_config__.tag)
    return {"type": kind, "metadata": config.metadata or {}, "schema": schema}


async def _check_schema(sv: Services, schema: dict[str, Any]) -> None:
    """Raises InvalidRequest."""
    await fit(sv, schema, b"", max_lines=1)


async def fit(sv: Services, schema: dict[str, Any], lines: bytes, *, max_lines: int) -> None:
    """Hold lines of data against the schema of an eval's items. Raises InvalidRequest."""
    directory = sv.settings.data_dir / DIRECTORY
    with temporary(directory) as content, temporary(directory) as rules:
        await fill(content, one_piece(lines))
        await fill(rules, one_piece(msgspec.json.encode(schema)))
        arguments = ["fit", path_of(content), "--schema", path_of(rules), "--max-lines", str(max_lines)]
        await sv.datasets.run(arguments, [content, rules])
