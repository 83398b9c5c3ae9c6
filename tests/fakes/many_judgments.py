"""Many judgments at once, of answers that are nowhere in the log."""

from sqlalchemy import text

from gateway.db.database import Database
from gateway.db.tables import CriterionRow

INSERT = text("""
INSERT INTO judgments (id, project_id, created_at, exchange_id, source, annotator_id, judge_version_id, identifier, attempt,
    criterion_id, kind, score, passed, status, eval_run_id, superseded_at, sampling)
SELECT gen_random_uuid()::text, :project, now() - make_interval(hours => :hours) - make_interval(secs => n),
    :answers || (n - n % :repeats), :source, n::text, CAST(:judge AS text), :identifier, n, :criterion, 'boolean',
    (n < :passed)::int, n < :passed, :status, CAST(:run AS text),
    CASE WHEN :superseded THEN now() END, CASE WHEN :drawn THEN '{"probability": 0.1}'::jsonb END
FROM generate_series(0, :number - 1) n
""")


async def judged(
    database: Database,
    criterion: CriterionRow,
    passed: int,
    number: int,
    *,
    hours: int,
    source: str = "human",
    judge: str | None = None,
    identifier: str = "",
    status: str = "ok",
    run: str | None = None,
    superseded: bool = False,
    drawn: bool = False,
    repeats: int = 1,
) -> None:
    """`number` verdicts so many hours ago, of which the first `passed` pass.

    Args:
        repeats: so many of each answer.
        drawn: by chance alone.
    """
    values = {
        "project": criterion.project_id, "criterion": criterion.id, "answers": f"req_{hours}_{source}_", "number": number,
        "passed": passed, "hours": hours, "source": source, "judge": judge, "identifier": identifier, "status": status,
        "run": run, "superseded": superseded, "drawn": drawn, "repeats": repeats,
    }  # fmt: skip
    async with database.session() as session:
        await session.execute(INSERT, values)
