"""A judge's version held against people's judgments of the same answers.

Only judgments by one version of a criterion are taken (pitfall: criteria drift), only where people agree among themselves, and
none of answers that the judge was shown as examples. For workers: this imports the statistics.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import CalibrationRow, CriterionRow, JudgeRow, JudgeVersionRow
from gateway.judging import specs
from gateway.judging.confusion import confusion
from gateway.judging.scales import Scale, value_of
from gateway.judging.trust import WHOLE
from gateway.kit.clock import now
from gateway.kit.ids import new_sorted_id
from gateway.protocol.judges import LlmSpec
from judges.llm.opinion import SWAPPED
from judges.statistics.agreement import Agreement, detection, kappa, kappa_of_values
from judges.statistics.bias import first_position, length_bias
from judges.statistics.intervals import wilson
from judges.statistics.rates import corrected

MOST = 20_000
"""Newest judgments by people that are taken."""
RECENT_SHARE = 1 / 3
LEAST_IN_WINDOW = 10
AGAIN_SECONDS = 600.0
"""Not sooner after the last one, unless it is asked for."""

BOTH = text("""
SELECT h.exchange_id, h.other_exchange_id AS h_other, h.passed AS h_passed, h.raw_value AS h_raw, h.label AS h_label,
       h.preference AS h_preference, j.id, j.created_at, j.exchange_id AS j_exchange, j.passed, j.raw_value, j.label,
       j.preference, o.output_tokens AS other_length, CASE WHEN NOT EXISTS (
           SELECT 1 FROM judgments m WHERE m.project_id = j.project_id AND m.exchange_id = j.exchange_id
           AND m.judge_version_id = j.judge_version_id AND m.choice_index > 0) THEN e.output_tokens END AS length
FROM judgments h JOIN judgments j ON j.project_id = h.project_id AND j.judge_version_id = :version
    AND j.superseded_at IS NULL AND j.status = 'ok' AND j.identifier = '' AND j.order_shown IS NULL AND j.attempt = 0
    AND j.eval_run_id IS NULL AND (
        (j.exchange_id = h.exchange_id AND j.choice_index = h.choice_index
            AND coalesce(j.other_exchange_id, '') = coalesce(h.other_exchange_id, '')
            AND coalesce(j.other_choice_index, 0) = coalesce(h.other_choice_index, 0))
        OR (j.exchange_id = h.other_exchange_id AND j.choice_index = coalesce(h.other_choice_index, 0)
            AND j.other_exchange_id = h.exchange_id AND coalesce(j.other_choice_index, 0) = h.choice_index))
LEFT JOIN exchanges e ON e.id = j.exchange_id LEFT JOIN exchanges o ON o.id = j.other_exchange_id
WHERE h.project_id = :project AND h.criterion_id = :criterion AND h.source = 'human' AND h.status = 'ok'
    AND h.superseded_at IS NULL AND h.eval_run_id IS NULL
ORDER BY h.created_at DESC LIMIT :most
""")
"""The tokens of a reply with several choices are of them all, and tell the length of none."""
ORDERS = text("""
SELECT pair_group_id, identifier, order_shown, preference FROM judgments
WHERE judge_version_id = :version AND superseded_at IS NULL AND status = 'ok' AND order_shown IS NOT NULL
    AND pair_group_id IS NOT NULL AND eval_run_id IS NULL
ORDER BY created_at DESC LIMIT :most
""")
PASSES = text(f"""
SELECT id, passed FROM judgments WHERE judge_version_id = :version AND {WHOLE} AND status = 'ok' AND attempt = 0
AND passed IS NOT NULL ORDER BY created_at DESC LIMIT :most
""")  # noqa: S608
DUE = text("""
SELECT v.id FROM judges g JOIN judge_versions v ON v.judge_id = g.id AND v.number = g.version
CROSS JOIN LATERAL (SELECT coalesce(max(c.created_at), '-infinity') AS at FROM calibrations c
    WHERE c.judge_version_id = v.id) last
WHERE g.kind = 'llm' AND g.archived_at IS NULL AND last.at < now() - make_interval(secs => :again) AND EXISTS (
    SELECT 1 FROM judgments h JOIN judgments j ON j.exchange_id = h.exchange_id AND j.judge_version_id = v.id
    WHERE h.project_id = g.project_id AND h.criterion_id = v.criterion_id AND h.source = 'human'
    AND greatest(h.created_at, j.created_at) > last.at)
""")


@dataclass(frozen=True, slots=True)
class Item:
    """One answer (or pair) that people and the judge have judged."""

    judgment_id: str
    """The judge's."""
    people: Any
    judge: Any
    agreed: bool
    """Of values: they lie close together."""
    passed: bool | None
    """By the judge."""
    judged_at: datetime
    length: int | None
    other_length: int | None
    exchange_id: str


async def due(session: AsyncSession) -> list[str]:
    """Versions in force that people and the judge have judged more of since they were last compared."""
    return list(await session.scalars(DUE, {"again": AGAIN_SECONDS}))


async def gather(session: AsyncSession, version: JudgeVersionRow, criterion: CriterionRow) -> "Material":
    """What a calibration rests on."""
    own = await session.get_one(CriterionRow, version.criterion_id)
    judge = await session.get_one(JudgeRow, version.judge_id)
    values = {"version": version.id, "project": judge.project_id, "criterion": criterion.id, "most": MOST}
    rows = [dict(row) for row in (await session.execute(BOTH, values)).mappings()]
    orders = [dict(row) for row in (await session.execute(ORDERS, {"version": version.id, "most": MOST})).mappings()]
    return Material(
        judge, version, criterion, own, rows, orders, _examples(version), await _passes(session, version.id)
    )


@dataclass(frozen=True, slots=True)
class Material:
    """Read from the database, for `report`, which takes a while."""

    judge: JudgeRow
    version: JudgeVersionRow
    criterion: CriterionRow
    """That people judged by."""
    own: CriterionRow
    """That the judge judges by."""
    rows: list[dict[str, Any]]
    orders: list[dict[str, Any]]
    shown: set[str]
    """Exchanges that the judge has as examples."""
    passes: dict[str, bool]
    """Judgment -> whether the answer passed, of all that the judge judged."""


def calibration(material: Material) -> CalibrationRow:
    """To be added. Pure computation: run it in a thread."""
    scale = Scale.of(material.own) if _way(material) == "value" else None
    items, left_out = _items(material, scale)
    agreement, way = _agreement(material, items)
    pairs = [(each.people, each.judge) for each in items if isinstance(each.people, bool)]
    found = detection([person for person, _ in pairs], [judge for _, judge in pairs])
    compared = {each.judgment_id for each in items}
    rest = [passed for judgment_id, passed in material.passes.items() if judgment_id not in compared]
    report: dict[str, Any] = {
        "compared": way,
        "reason": agreement.reason,
        "agreement": sum(each.agreed for each in items) / len(items) if items else None,
        "minority": _minority(items, scale),
        "left_out": left_out,
        "confusion": confusion([(each.people, each.judge, each.exchange_id) for each in items], scale),
        "sensitivity": _share(found.sensitivity, found.good),
        "specificity": _share(found.specificity, found.bad),
        "balanced_accuracy": found.balanced_accuracy,
        "pass_rate": _pass_rate(rest, found) if pairs else None,
        "first_position": _first_position(material.orders),
        "length": _length(items),
        "drift": _drift(items),
    }
    return CalibrationRow(
        id=new_sorted_id("calib_"),
        project_id=material.judge.project_id,
        judge_version_id=material.version.id,
        criterion_id=material.criterion.id,
        created_at=now(),
        n=len(items),
        kappa=agreement.value,
        kappa_low=agreement.low,
        kappa_high=agreement.high,
        sensitivity=found.sensitivity,
        specificity=found.specificity,
        report=report,
    )


def _items(material: Material, scale: Scale | None) -> tuple[list[Item], dict[str, int]]:
    """One an answer: what most of the people said of it beside what the judge said."""
    said: dict[str, list[Any]] = defaultdict(list)
    rows: dict[str, dict[str, Any]] = {}
    left_out = Counter(shown_as_example=0, people_disagree=0, not_comparable=0)
    for row in material.rows:
        if material.shown & {row["exchange_id"], row["h_other"]}:
            left_out["shown_as_example"] += 1
        elif (label := _human_label(material, row)) is None or _judge_label(material, row) is None:
            left_out["not_comparable"] += 1
        else:
            said[row["id"]].append(label)
            rows[row["id"]] = row
    items: list[Item] = []
    for id, labels in said.items():
        people = scale.middle(labels) if scale else _majority(labels)
        if people is None:
            left_out["people_disagree"] += 1
            continue
        row = rows[id]
        judge = _judge_label(material, row)
        agreed = scale.same(people, judge) if scale else people == judge
        more = (row["length"], row["other_length"], row["j_exchange"])
        items.append(Item(id, people, judge, agreed, row["passed"], row["created_at"], *more))
    return sorted(items, key=lambda each: (each.judged_at, each.judgment_id)), dict(left_out)


def _majority(labels: list[Any]) -> Any:
    """What most said; None where they are split."""
    most = Counter(labels).most_common(2)
    return None if len(most) > 1 and most[0][1] == most[1][1] else most[0][0]


def _minority(items: Sequence[Item], scale: Scale | None) -> int:
    """Answers of which people did not say what they said most often: without any, agreement with them is easy."""
    said = Counter(scale.part_of(each.people) if scale else each.people for each in items)
    return len(items) - max(said.values(), default=0)


def _human_label(material: Material, row: dict[str, Any]) -> Any:
    if material.own.kind == "pairwise":
        turned = row["exchange_id"] != row["j_exchange"]
        return SWAPPED.get(row["h_preference"], row["h_preference"]) if turned else row["h_preference"]
    if _by_passing(material):
        return row["h_passed"]
    return row["h_label"] if material.own.kind == "categorical" else value_of(row["h_raw"])


def _judge_label(material: Material, row: dict[str, Any]) -> Any:
    if material.own.kind == "pairwise":
        return row["preference"]
    if _by_passing(material):
        return row["passed"]
    return row["label"] if material.own.kind == "categorical" else value_of(row["raw_value"])


def _by_passing(material: Material) -> bool:
    """Whether pass or fail is compared: always where two criteria are, and where the one draws a line."""
    own = material.own
    if own.id != material.criterion.id or own.kind == "boolean":
        return True
    return own.pass_score is not None if own.kind == "numeric" else bool(own.passing_labels)


def _way(material: Material) -> str:
    """What is compared."""
    if material.own.kind == "pairwise":
        return "preference"
    if _by_passing(material):
        return "passed"
    return "label" if material.own.kind == "categorical" else "value"


def _agreement(material: Material, items: Sequence[Item]) -> tuple[Agreement, str]:
    """And what was compared."""
    way = _way(material)
    people, judge = [each.people for each in items], [each.judge for each in items]
    if way == "value":
        return kappa_of_values(people, judge), "value, quadratic weights"
    return kappa(people, judge), way


def _share(value: float | None, n: int) -> dict[str, Any]:
    if value is None:
        return {"value": None, "low": None, "high": None, "n": n}
    return {"value": value, **asdict(wilson(round(value * n), n)), "n": n}


def _pass_rate(rest: list[bool], found: Any) -> dict[str, Any]:
    """Of what people have not judged: as the judge says, and without its bias."""
    n = len(rest)
    return {"judge": _share(sum(rest) / n if n else None, n), "corrected": asdict(corrected(sum(rest), n, found))}


def _first_position(orders: list[dict[str, Any]]) -> dict[str, Any] | None:
    """How often what was shown first won, where both orders are known."""
    groups: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for row in orders:
        groups[row["pair_group_id"], row["identifier"]][row["order_shown"]] = row["preference"]
    places = {"a": ("first", "second"), "b": ("second", "first")}
    pairs = [
        (places.get(group["ab"], ("tie",))[0], places.get(group["ba"], ("tie",))[-1])
        for group in groups.values()
        if len(group) == 2
    ]
    if not pairs:
        return None
    found = first_position(pairs)
    return {
        "rate": found.rate,
        "low": found.interval.low,
        "high": found.interval.high,
        "decisive": found.decisive,
        "consistency": found.consistency,
        "comparisons": found.comparisons,
        "biased": found.biased,
    }


def _length(items: Sequence[Item]) -> dict[str, Any] | None:
    """Whether length explains the judge's verdicts: against the other answer, or against the average one."""
    known = [each for each in items if each.length is not None]
    pairs = [each for each in known if each.other_length is not None]
    if pairs:
        won = [{"a": 1.0, "b": 0.0}.get(str(each.judge), 0.5) for each in pairs]
        found = length_bias(won, [each.length or 0 for each in pairs], [each.other_length or 0 for each in pairs])
    else:
        known = [each for each in known if each.passed is not None]
        if not known:
            return None
        average = round(sum(each.length or 0 for each in known) / len(known))
        won = [float(each.passed or False) for each in known]
        found = length_bias(won, [each.length or 0 for each in known], [average] * len(known))
    return asdict(found) | {"explains": found.explains}


def _drift(items: Sequence[Item]) -> dict[str, Any] | None:
    """Agreement in the newest third against that before; None where a window would be too small."""
    cut = len(items) - round(len(items) * RECENT_SHARE)
    before, recent = items[:cut], items[cut:]
    if min(len(before), len(recent)) < LEAST_IN_WINDOW:
        return None
    windows = {name: _window(each) for name, each in (("before", before), ("recent", recent))}
    apart = windows["recent"]["high"] < windows["before"]["low"] or windows["before"]["high"] < windows["recent"]["low"]
    return {**windows, "since": recent[0].judged_at.isoformat(), "changed": apart}


def _window(items: Sequence[Item]) -> dict[str, Any]:
    same = sum(each.agreed for each in items)
    return _share(same / len(items), len(items))


def _examples(version: JudgeVersionRow) -> set[str]:
    spec = specs.read(version.spec)
    examples = spec.examples if isinstance(spec, LlmSpec) else []
    return {each.exchange_id for each in examples if each.exchange_id is not None}


async def _passes(session: AsyncSession, version_id: str) -> dict[str, bool]:
    rows = await session.execute(PASSES, {"version": version_id, "most": MOST})
    return {row.id: row.passed for row in rows}
