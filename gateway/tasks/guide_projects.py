"""Finds what goes wrong in a project, when somebody asks: reads the newest of everything, has clusters made of it in a process
of their own, and keeps the report. Whoever dies in between has stored nothing, and the next look asks again."""

from collections.abc import Collection

import msgspec
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.datasets.isolated import fill, path_of, temporary
from gateway.db.tables import CalibrationRow, JudgeRow, JudgeVersionRow
from gateway.files.service import one_piece
from gateway.guidance import reading, repository, surroundings
from gateway.guidance.material import Called, Judge, Judged, Material
from gateway.judging import trust
from gateway.protocol.guidance import GuidanceFilters, Report
from gateway.services import WorkerServices

DIRECTORY = "guidance"
"""Below the data directory: files without names that the process reads."""


async def guide_project(wv: WorkerServices, project_id: str, key: str) -> None:
    """Computes one report, where it is due. Nobody asked for it any more: nothing is done."""
    async with wv.database.session() as session:
        row = await repository.find(session, project_id, key)
        if row is None:
            return
        generation, filters = row.generation, msgspec.convert(row.filters, GuidanceFilters)
        material = await gather(session, project_id, filters)
    report = await _computed(wv, material)
    async with wv.database.session() as session:
        await repository.store(session, project_id, key, generation, report)
        await repository.remove_old(session)


async def gather(session: AsyncSession, project_id: str, filters: GuidanceFilters) -> Material:
    """Everything that a report is made of, in a bounded number of bounded statements."""
    judged, every_verdict = await reading.judged(session, project_id, filters)
    called, every_call = await reading.called(session, project_id, filters)
    names = {(each.route or "").partition("@")[0] for each in (*judged, *called)} - {""}
    models = {each.model for each in (*judged, *called) if each.model}
    tested = await surroundings.tested(session, project_id, filters)
    models |= {each.model for each in tested if each.model}
    return Material(
        judged=judged,
        called=called,
        tested=tested,
        questions=await reading.questions(session, _failures(judged, called)),
        criteria=await surroundings.criteria(session, {each.criterion_id for each in judged}),
        judges=await _judges(session, {each.judge_version_id for each in judged if each.judge_version_id}),
        trainings=await surroundings.trainings(session, project_id, models),
        routes=await surroundings.routes(session, project_id, names),
        complete=every_verdict and every_call,
    )


def _failures(judged: list[Judged], called: list[Called]) -> list[str]:
    """Exchanges whose questions are compared, the newest first."""
    said = [each.exchange_id for each in judged if each.passed is False or each.tags]
    broken = [each.exchange_id for each in called if each.outcome != "completed" or each.failure]
    return list(dict.fromkeys([*said, *broken]))


async def _judges(session: AsyncSession, version_ids: Collection[str]) -> dict[str, Judge]:
    rows = await session.execute(
        select(JudgeVersionRow, JudgeRow)
        .join(JudgeRow, JudgeRow.id == JudgeVersionRow.judge_id)
        .where(JudgeVersionRow.id.in_(version_ids))
    )
    newest = select(CalibrationRow).where(CalibrationRow.judge_version_id.in_(version_ids))
    newest = newest.ext(distinct_on(CalibrationRow.judge_version_id)).order_by(
        CalibrationRow.judge_version_id, CalibrationRow.created_at.desc(), CalibrationRow.id
    )
    held = {each.judge_version_id: each for each in await session.scalars(newest)}
    return {
        row.JudgeVersionRow.id: _judge(row.JudgeRow, row.JudgeVersionRow, held.get(row.JudgeVersionRow.id))
        for row in rows
    }


def _judge(row: JudgeRow, version: JudgeVersionRow, held: CalibrationRow | None) -> Judge:
    return Judge(
        id=row.id,
        name=row.name,
        kind=row.kind,
        trusted=row.kind == "rule" or trust.agrees(row, held),
        kappa=held.kappa if held else None,
        kappa_low=held.kappa_low if held else None,
        n=held.n if held else 0,
        wanted_kappa=trust.wanted_kappa(row),
        rules=version.spec.get("rules") or [],
    )


async def _computed(wv: WorkerServices, material: Material) -> Report:
    """Raises Unavailable, Surprise, InvalidRequest: it took too long."""
    with temporary(wv.settings.data_dir / DIRECTORY) as file:
        await fill(file, one_piece(msgspec.json.encode(material)))
        found = await wv.guidance.run([path_of(file)], [file])
    return msgspec.json.decode(found, type=Report)
