"""/v1/files/{file_id}/report: what is wrong with a training file, and how good it is. An extension."""

from pathlib import Path

import msgspec
from litestar import get
from litestar.params import FromPath, QueryParams

from gateway.datasets import repository as reports
from gateway.datasets.isolated import fill, path_of, temporary
from gateway.db.tables import FileRow
from gateway.errors import InvalidRequest
from gateway.files import repository as files
from gateway.protocol.datasets import FileReport, Method, Report
from gateway.protocol.queries import choice
from gateway.routes.callers import Caller, Sv
from gateway.services import Services

METHODS: dict[str, Method | None] = {"auto": None, "supervised": "supervised", "dpo": "dpo"}
WORKPLACE = "files-at-work"
"""Below DATA_DIR: where files without a name are kept while they are looked at."""


@get("/v1/files/{file_id:str}/report")
async def retrieve_report(sv: Sv, caller: Caller, file_id: FromPath[str], query: QueryParams) -> FileReport:
    """Made once for each method; a job that was validated has made it already."""
    method = METHODS[choice(query, "method", tuple(METHODS), "auto")]
    async with sv.database.session() as session:
        row = await files.find(session, caller.project_id, file_id)
    if row.purpose != "fine-tune":
        raise InvalidRequest(
            f"File {file_id} has purpose '{row.purpose}'; only files of purpose 'fine-tune' have a report.",
            param="file_id",
        )
    return FileReport(file_id=row.id, report=await report_of(sv, row, method))


async def report_of(sv: Services, row: FileRow, method: Method | None) -> Report:
    """The report that is kept, or a new one. Raises InvalidRequest, Unavailable."""
    model = sv.settings.engine.model_path
    report = reports.kept(row, method, model)
    if report is None:
        report = await _make(sv, row, method)
        async with sv.database.session() as session:
            await reports.keep(session, row.id, method, model, report)
    return report


async def _make(sv: Services, row: FileRow, method: Method | None) -> Report:
    with temporary(sv.settings.data_dir / WORKPLACE) as content:
        arguments = ["report", path_of(content), *model_argument(sv), *(["--method", method] if method else [])]
        answer = await sv.datasets.run(arguments, [content], first=lambda: fill(content, sv.files.get(row.id)))
        return msgspec.json.decode(answer, type=Report)


def model_argument(sv: Services) -> list[str]:
    """So that tokens are counted as the base model does, where its files are here."""
    model = sv.settings.engine.model_path
    return ["--model", model] if model and Path(model).is_dir() else []
