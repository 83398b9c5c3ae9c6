"""Reports that were made once, on the rows of their files."""

from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import FileRow
from gateway.protocol.datasets import Method, Report

VERSION = 1
"""Of what a report says: one of another version is made again."""


def kept(row: FileRow, asked: Method | None, model: str) -> Report | None:
    """The report of this file that was made with the tokenizer of `model`, if there is one. None asks for the file's own
    format."""
    stored = row.report or {}
    if stored.get("version") != VERSION or stored.get("model") != model:
        return None
    reports = [msgspec.convert(report, Report) for report in _candidates(stored["reports"], asked)]
    return next(iter(reports), None)


def _candidates(reports: dict[str, Any], asked: Method | None) -> list[Any]:
    """A report without a bad example says that its method is the file's own."""
    if asked is not None:
        return [reports[asked]] if asked in reports else []
    if "auto" in reports:
        return [reports["auto"]]
    return [report for report in reports.values() if report["examples"] and not report["bad_examples"]]


async def keep(session: AsyncSession, file_id: str, asked: Method | None, model: str, report: Report) -> None:
    """Store a report; nothing happens when the file is gone."""
    row = await session.get(FileRow, file_id)
    if row is None:
        return
    stored = row.report or {}
    same = stored.get("version") == VERSION and stored.get("model") == model
    reports = dict(stored["reports"]) if same else {}
    told = msgspec.to_builtins(report)
    reports[report.method] = told
    if asked is None:
        reports["auto"] = told
    row.report = {"version": VERSION, "model": model, "reports": reports}
