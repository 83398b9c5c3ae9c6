"""Verdicts and criteria for tests."""

from typing import Any

from gateway.db.database import Database
from gateway.db.tables import CriterionRow, ProjectRow
from gateway.judgments import criteria
from gateway.judgments.verdict import Verdict
from gateway.kit.clock import now

PROJECT = "proj_judged"


async def make_project(database: Database, id: str = PROJECT) -> str:
    async with database.session() as session:
        session.add(ProjectRow(id=id, name=id, created_at=now()))
    return id


async def built_in(database: Database, name: str, project_id: str = PROJECT) -> CriterionRow:
    async with database.session() as session:
        return await criteria.by_name(session, project_id, name)


def verdict(criterion: CriterionRow, **changes: Any) -> Verdict:
    """A thumb up, unless `changes` say otherwise."""
    plain: dict[str, Any] = {
        "project_id": criterion.project_id,
        "exchange_id": "req_1",
        "criterion_id": criterion.id,
        "kind": criterion.kind,
        "source": "human",
        "annotator_id": "key_1",
        "score": 1.0,
        "passed": True,
    }
    return Verdict(**plain | changes)
