"""How far a run is, and how it stands: counted where the items are, while it runs as after its end."""

from dataclasses import astuple, dataclass, field
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

COUNTS = text("SELECT status, count(*) AS n FROM eval_output_items WHERE run_id = :run GROUP BY status")
CRITERIA = text("""
SELECT r.value ->> 'name' AS id,
       count(*) FILTER (WHERE r.value ->> 'passed' = 'true') AS passed,
       count(*) FILTER (WHERE r.value ->> 'passed' = 'false') AS failed,
       count(*) FILTER (WHERE r.value ->> 'passed' IS NULL) AS errored
FROM eval_output_items i CROSS JOIN LATERAL jsonb_array_elements(i.results) r
WHERE i.run_id = :run GROUP BY 1
""")
USAGE = text("""
SELECT u.key AS model, sum(cast(u.value ->> 'calls' AS bigint)) AS calls, sum(cast(u.value ->> 'prompt' AS bigint)) AS prompt,
       sum(cast(u.value ->> 'completion' AS bigint)) AS completion, sum(cast(u.value ->> 'cached' AS bigint)) AS cached,
       coalesce(sum(cast(u.value ->> 'cost' AS bigint)), 0) AS cost_nano,
       coalesce(sum(cast(u.value ->> 'priced' AS bigint)), 0) AS priced
FROM eval_output_items i CROSS JOIN LATERAL jsonb_each(i.metrics -> 'usage') u
WHERE i.run_id = :run GROUP BY 1 ORDER BY 1
""")


@dataclass(frozen=True, slots=True)
class CriterionTally:
    passed: int = 0
    failed: int = 0
    errored: int = 0


@dataclass(frozen=True, slots=True)
class UsageTally:
    model: str
    calls: int
    prompt: int
    completion: int
    cached: int
    cost_nano: int = 0
    """Of those calls that had a price."""
    priced: int = 0
    """Calls; none of those that were made before this was counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Of one run."""

    passed: int = 0
    failed: int = 0
    errored: int = 0
    waiting: int = 0
    criteria: dict[str, CriterionTally] = field(default_factory=dict[str, CriterionTally])
    """By the criterion's id."""
    usage: list[UsageTally] = field(default_factory=list[UsageTally])


async def tally(session: AsyncSession, run_id: str) -> Tally:
    values = {"run": run_id}
    counts = {row.status: int(row.n) for row in await session.execute(COUNTS, values)}
    criteria = {
        row.id: CriterionTally(row.passed, row.failed, row.errored) for row in await session.execute(CRITERIA, values)
    }
    usage = [UsageTally(row.model, *(int(each) for each in row[1:])) for row in await session.execute(USAGE, values)]
    return Tally(
        passed=counts.get("pass", 0),
        failed=counts.get("fail", 0),
        errored=counts.get("error", 0),
        waiting=counts.get("queued", 0),
        criteria=criteria,
        usage=usage,
    )


def stored(found: Tally) -> dict[str, Any]:
    """As `eval_runs.result` keeps it of a run that ended."""
    return {
        "passed": found.passed,
        "failed": found.failed,
        "errored": found.errored,
        "criteria": {id: [each.passed, each.failed, each.errored] for id, each in found.criteria.items()},
        "usage": [list(astuple(each)) for each in found.usage],
    }


def read(result: dict[str, Any]) -> Tally:
    """The reverse of `stored`."""
    return Tally(
        passed=result["passed"],
        failed=result["failed"],
        errored=result["errored"],
        criteria={id: CriterionTally(*counts) for id, counts in result["criteria"].items()},
        usage=[UsageTally(*each) for each in result["usage"]],
    )
