"""A judge held against people: which judgments count, and what is said of them."""

from random import Random
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from gateway.db.database import Database
from gateway.db.tables import CalibrationRow, CriterionRow, JudgeRow, JudgeVersionRow
from gateway.errors import Conflict
from gateway.judging import calibrations, trust
from gateway.judgments import criteria
from gateway.judgments import repository as judgments
from gateway.judgments.verdict import Verdict
from gateway.protocol.criteria import CriterionSpec
from gateway.protocol.judges import LlmExample, LlmSpec
from tests.fakes.judging import World

pytestmark = pytest.mark.anyio

SAFE = CriterionSpec(name="kept", kind="boolean", description="Is it kept?")


def said_by_judge(
    version: JudgeVersionRow, criterion: CriterionRow, exchange_id: str, passed: bool | None, **changes: Any
) -> Verdict:
    given: dict[str, Any] = {
        "project_id": criterion.project_id,
        "exchange_id": exchange_id,
        "criterion_id": criterion.id,
        "kind": criterion.kind,
        "source": "llm",
        "judge_version_id": version.id,
        "passed": passed,
        "raw_value": passed,
        "score": None if passed is None else float(passed),
    } | changes
    return Verdict(**given)


async def judge_says(database: Database, *arguments: Any, **changes: Any) -> None:
    """As `said_by_judge`, written down."""
    async with database.session() as session:
        await judgments.add(session, [said_by_judge(*arguments, **changes)])


async def calibrate(
    database: Database, version: JudgeVersionRow, criterion: CriterionRow | None = None
) -> CalibrationRow:
    async with database.session() as session:
        held = criterion or await session.get_one(CriterionRow, version.criterion_id)
        material = await calibrations.gather(session, version, held)
    made = calibrations.calibration(material)
    async with database.session() as session:
        session.add(made)
    return made


async def made(world: World, spec: LlmSpec | None = None) -> tuple[JudgeRow, JudgeVersionRow, CriterionRow]:
    """A judge by a yes-or-no criterion."""
    async with world.database.session() as session:
        criterion = await criteria.find_or_make(session, world.project_id, SAFE, "key_1")
    row, version = await world.judge(spec, criterion="kept")
    return row, version, criterion


async def fill(world: World, version: JudgeVersionRow, criterion: CriterionRow, table: list[list[int]]) -> None:
    """Answers that people (down: good, bad) and the judge (across: good, bad) have judged."""
    verdicts: list[Verdict] = []
    for person, counts in zip((True, False), table, strict=True):
        for said, count in zip((True, False), counts, strict=True):
            for _ in range(count):
                by_judge = said_by_judge(version, criterion, f"req_{len(verdicts) // 2 + 1}", said)
                human: dict[str, Any] = {"source": "human", "judge_version_id": None, "annotator_id": "user_1"}
                by_person = msgspec.structs.replace(by_judge, passed=person, score=float(person), **human)
                verdicts += [by_person, by_judge]
    async with world.database.session() as session:
        await judgments.add(session, verdicts)


class TestChoices:
    async def test_each_is_held_against_what_people_say_of_it(self, world: World, database: Database) -> None:
        _, version, criterion = await made(world)
        for choice, (person, judge) in enumerate([(True, True), (False, False), (True, False), (None, True)]):
            await judge_says(database, version, criterion, "req_1", judge, choice_index=choice)
            if person is not None:
                await world.people_say(criterion, "req_1", person, choice_index=choice)
        row = await calibrate(database, version)
        assert row.n == 3
        exchanges = [[["req_1"], []], [["req_1"], ["req_1"]]]
        assert row.report["confusion"] == {
            "labels": [False, True],
            "counts": [[1, 0], [1, 1]],
            "exchanges": exchanges,
        }
        assert row.report["pass_rate"]["judge"]["n"] == 1

    async def test_tokens_of_several_tell_the_length_of_none(self, world: World, database: Database) -> None:
        _, version, criterion = await made(world)
        several, single = [await world.answer("a", "b", output_tokens=90), await world.answer(output_tokens=10)]
        for id, choice in ((several, 0), (several, 1), (single, 0)):
            await judge_says(database, version, criterion, id, True, choice_index=choice)
            await world.people_say(criterion, id, True, choice_index=choice)
        async with database.session() as session:
            material = await calibrations.gather(session, version, criterion)
        assert sorted(str(row["length"]) for row in material.rows) == ["10", "None", "None"]

    @pytest.mark.parametrize(
        ("ids", "choices", "counts"),
        [
            (("a", "b"), (0, 0), True),
            (("b", "a"), (0, 0), True),
            (("a", "b"), (0, 1), False),
            (("b", "a"), (1, 0), False),
        ],
    )
    async def test_of_pairs_only_the_same_two(
        self, world: World, database: Database, ids: tuple[str, str], choices: tuple[int, int], counts: bool
    ) -> None:
        criterion = await world.criterion("preference")
        _, version = await world.judge(LlmSpec(model="five"), criterion="preference")
        pair = {"other_exchange_id": "b", "other_choice_index": 0, "preference": "a", "raw_value": None}
        await judge_says(database, version, criterion, "a", None, **pair)
        by_person = {"other_exchange_id": ids[1], "other_choice_index": choices[1], "choice_index": choices[0]}
        await world.people_say(criterion, ids[0], None, preference="a", **by_person)
        async with database.session() as session:
            assert len((await calibrations.gather(session, version, criterion)).rows) == int(counts)


class TestFigures:
    async def test_known_answers(self, world: World, database: Database) -> None:
        """[[45, 5], [15, 35]]: kappa 0.600 (research: known-answer vectors)."""
        _, version, criterion = await made(world)
        await fill(world, version, criterion, [[9, 1], [3, 7]])
        row = await calibrate(database, version)
        assert row.n == 20
        assert row.kappa == pytest.approx(0.6)
        assert row.kappa_low is not None
        assert row.kappa_high is not None
        assert row.kappa_low < 0.6 < row.kappa_high
        assert (row.sensitivity, row.specificity) == (pytest.approx(0.9), pytest.approx(0.7))
        report = row.report
        assert (report["confusion"]["labels"], report["confusion"]["counts"]) == ([False, True], [[7, 3], [1, 9]])
        assert [[len(ids) for ids in row] for row in report["confusion"]["exchanges"]] == [[7, 3], [1, 9]]
        assert report["agreement"] == pytest.approx(0.8)
        assert report["sensitivity"]["n"] == 10
        assert report["sensitivity"]["low"] < 0.9 < report["sensitivity"]["high"]

    async def test_a_judge_that_passes_everything_agrees_often_and_is_worth_nothing(
        self, world: World, database: Database
    ) -> None:
        """Pitfall 7."""
        judge, version, criterion = await made(world)
        await fill(world, version, criterion, [[36, 0], [4, 0]])
        row = await calibrate(database, version)
        assert row.report["agreement"] == pytest.approx(0.9)
        assert row.kappa == pytest.approx(0.0)
        assert row.report["balanced_accuracy"] == 0.5
        async with database.session() as session:
            reasons = trust.doubts(judge, row, await trust.covered(session, version.id))
        assert any("0.40 is needed" in reason for reason in reasons)

    async def test_where_nothing_varies_kappa_is_not_defined_and_the_reason_is_told(
        self, world: World, database: Database
    ) -> None:
        judge, version, criterion = await made(world)
        await fill(world, version, criterion, [[35, 0], [0, 0]])
        row = await calibrate(database, version)
        assert (row.kappa, row.kappa_low, row.specificity) == (None, None, None)
        assert "same label" in row.report["reason"]
        async with database.session() as session:
            assert "not defined" in trust.doubts(judge, row, await trust.covered(session, version.id))[0]

    async def test_the_pass_rate_of_the_rest_is_told_without_the_judges_bias(
        self, world: World, database: Database
    ) -> None:
        """Pitfall 8: p .8, se .9, sp .7 -> 0.83333."""
        _, version, criterion = await made(world)
        await fill(world, version, criterion, [[9, 1], [3, 7]])
        for number in range(10):
            await judge_says(database, version, criterion, f"req_more{number}", number < 8)
        rate = (await calibrate(database, version)).report["pass_rate"]
        assert rate["judge"]["value"] == pytest.approx(0.8)
        assert rate["judge"]["n"] == 10
        assert rate["corrected"]["value"] == pytest.approx(0.83333, abs=1e-5)

    async def test_a_scale_without_a_line_is_compared_by_its_steps(self, world: World, database: Database) -> None:
        """(1,2,3,4,5,5,4,3)/(1,2,3,4,4,5,5,3): quadratic 0.9279."""
        async with database.session() as session:
            spec = CriterionSpec(name="stars", kind="numeric", lowest=1, highest=5)
            criterion = await criteria.find_or_make(session, world.project_id, spec, "key_1")
        _, version = await world.judge(criterion="stars")
        for number, (person, said) in enumerate(zip((1, 2, 3, 4, 5, 5, 4, 3), (1, 2, 3, 4, 4, 5, 5, 3), strict=True)):
            await world.people_say(criterion, f"req_{number}", None, raw_value=person)
            await judge_says(database, version, criterion, f"req_{number}", None, raw_value=said)
        row = await calibrate(database, version)
        assert row.kappa == pytest.approx(0.9279, abs=1e-4)
        assert row.report["compared"] == "value, quadratic weights"
        assert row.sensitivity is None

    async def rated(
        self, world: World, scale: tuple[float, float], said: list[tuple[list[float], float]]
    ) -> CalibrationRow:
        """Of a scale without a line: what people said of each answer, and what the judge did."""
        async with world.database.session() as session:
            spec = CriterionSpec(name="marks", kind="numeric", lowest=scale[0], highest=scale[1])
            criterion = await criteria.find_or_make(session, world.project_id, spec, "key_1")
        _, version = await world.judge(criterion="marks")
        given: dict[str, Any] = {"source": "human", "judge_version_id": None}
        verdicts: list[Verdict] = []
        for number, (people, judge) in enumerate(said):
            by_judge = said_by_judge(version, criterion, f"req_{number:04}", None, raw_value=judge)
            for person, value in enumerate(people):
                more = given | {"raw_value": value, "annotator_id": f"user_{person}"}
                verdicts.append(msgspec.structs.replace(by_judge, **more))
            verdicts.append(by_judge)
        async with world.database.session() as session:
            await judgments.add(session, verdicts)
        return await calibrate(world.database, version)

    async def test_values_between_whole_numbers_are_no_steps(self, world: World, database: Database) -> None:
        """Rounded, a judge that guesses within the right half of 0 to 1 was right always."""
        random = Random(0)
        people = [random.random() for _ in range(200)]
        said = [([each], random.uniform(0, 0.5) if each < 0.5 else random.uniform(0.5, 1)) for each in people]
        row = await self.rated(world, (0, 1), said)
        assert row.kappa is not None
        assert 0.65 < row.kappa < 0.85
        assert row.report["compared"] == "value, quadratic weights"
        assert row.report["agreement"] < 0.5

    async def test_a_long_scale_knows_near_from_far(self, world: World, database: Database) -> None:
        random = Random(1)
        people = [random.randrange(101) for _ in range(200)]
        row = await self.rated(world, (0, 100), [([each], min(100, each + random.randrange(3))) for each in people])
        assert row.kappa == pytest.approx(0.998, abs=0.002)
        assert row.report["agreement"] == 1.0

    async def test_a_scale_of_hundreds_of_values_takes_little(self, world: World, database: Database) -> None:
        """Each was a label: thousands of tables of them ended the worker every minute."""
        random = Random(2)
        row = await self.rated(
            world, (0, 1000), [([random.uniform(0, 1000)], random.uniform(0, 1000)) for _ in range(600)]
        )
        table = row.report["confusion"]
        assert table["labels"] == [f"{low} to {low + 100}" for low in range(0, 1000, 100)]
        assert sum(map(sum, table["counts"])) == 600
        assert [[min(20, count) for count in line] for line in table["counts"]] == [
            [len(ids) for ids in line] for line in table["exchanges"]
        ]

    async def test_people_who_say_nearly_the_same_are_not_split(self, world: World, database: Database) -> None:
        row = await self.rated(
            world, (0, 1), [([0.7, 0.75], 0.7), ([0.1, 0.9], 0.1), ([0.1, 0.2, 0.9], 0.2), ([1.0], 0.95), ([0.0], 0.4)]
        )
        assert (row.n, row.report["left_out"]["people_disagree"]) == (4, 1)
        assert row.report["agreement"] == pytest.approx(0.75)
        assert row.report["confusion"]["labels"] == [0.0, 0.2, 0.4, 0.7, 0.725, 0.95, 1.0]
        assert row.report["minority"] == 3

    async def test_drift_shows_when_the_newest_window_differs(self, world: World, database: Database) -> None:
        _, version, criterion = await made(world)
        for number in range(60):
            person = number % 2 == 0
            await world.people_say(criterion, f"req_{number:03}", person)
            await judge_says(database, version, criterion, f"req_{number:03}", person if number < 40 else not person)
        drift = (await calibrate(database, version)).report["drift"]
        assert drift["changed"] is True
        assert (drift["before"]["value"], drift["recent"]["value"]) == (1.0, 0.0)
        assert (drift["before"]["n"], drift["recent"]["n"]) == (40, 20)

    async def test_and_not_when_it_does_not(self, world: World, database: Database) -> None:
        _, version, criterion = await made(world)
        await fill(world, version, criterion, [[15, 0], [0, 15]])
        assert (await calibrate(database, version)).report["drift"]["changed"] is False

    async def test_a_judge_by_length_is_found_out(self, world: World, database: Database) -> None:
        """Pitfall 2."""
        _, version, criterion = await made(world)
        for number in range(40):
            id = await world.answer(output_tokens=50 + 10 * number)
            await world.people_say(criterion, id, number % 2 == 0)
            await judge_says(database, version, criterion, id, number >= 20)
        length = (await calibrate(database, version)).report["length"]
        assert length["explains"] is True
        assert length["slope"] > 0


class TestComparisons:
    async def compared(self, world: World, orders: list[tuple[str, str]]) -> JudgeVersionRow:
        """By a judge: what it said when A came first, and when B did."""
        _, version = await world.judge(criterion="preference")
        criterion = await world.criterion("preference")
        for number, (ab, ba) in enumerate(orders):
            pair = {"other_exchange_id": f"req_b{number}", "pair_group_id": f"group{number}", "score": None}
            whole = ab if ab == ba else "tie"
            for shown, said in (("ab", ab), ("ba", ba), (None, whole)):
                await judge_says(
                    world.database,
                    version,
                    criterion,
                    f"req_a{number}",
                    None,
                    preference=said,
                    order_shown=shown,
                    **pair,
                )
        return version

    async def test_the_first_place_wins_too_often(self, world: World, database: Database) -> None:
        version = await self.compared(world, [("a", "b")] * 20)
        found = (await calibrate(database, version)).report["first_position"]
        assert (found["rate"], found["consistency"], found["biased"]) == (1.0, 0.0, True)
        assert found["decisive"] == 40
        assert found["low"] > 0.9

    async def test_a_true_preference_has_no_place(self, world: World, database: Database) -> None:
        version = await self.compared(world, [("a", "a")] * 10 + [("b", "b")] * 10)
        found = (await calibrate(database, version)).report["first_position"]
        assert (found["rate"], found["consistency"], found["biased"]) == (0.5, 1.0, False)

    async def test_people_who_saw_the_pair_the_other_way_round_are_understood(
        self, world: World, database: Database
    ) -> None:
        version = await self.compared(world, [("a", "a")] * 6 + [("b", "b")] * 6)
        criterion = await world.criterion("preference")
        for number in range(12):
            straight = number % 2 == 0
            winner = "a" if number < 6 else "b"
            ids = (f"req_a{number}", f"req_b{number}")
            await world.people_say(
                criterion,
                ids[0] if straight else ids[1],
                None,
                other_exchange_id=ids[1] if straight else ids[0],
                preference=winner if straight else {"a": "b", "b": "a"}[winner],
            )
        row = await calibrate(database, version)
        assert (row.n, row.kappa) == (12, pytest.approx(1.0))


class TestWhatCounts:
    async def test_another_version_of_the_criterion_is_never_pooled(self, world: World, database: Database) -> None:
        """Pitfall 9."""
        _, version, criterion = await made(world)
        await fill(world, version, criterion, [[5, 0], [0, 5]])
        async with database.session() as session:
            changed = CriterionSpec(name="kept", kind="boolean", description="Is it kept, and how?")
            newer = await criteria.find_or_make(session, world.project_id, changed, "key_1")
        assert newer.id != criterion.id
        for number in range(1, 11):
            await world.people_say(newer, f"req_{number}", False)
        assert (await calibrate(database, version)).n == 10
        held = await calibrate(database, version, newer)
        assert (held.n, held.criterion_id) == (10, newer.id)
        assert held.sensitivity is None

    async def test_answers_that_the_judge_was_shown_are_left_out(self, world: World, database: Database) -> None:
        example = LlmExample(question="q", answer="a", result=True, exchange_id="req_1")
        _, version, criterion = await made(world, LlmSpec(model="five", examples=[example]))
        await fill(world, version, criterion, [[2, 0], [0, 2]])
        row = await calibrate(database, version)
        assert row.n == 3
        assert row.report["left_out"]["shown_as_example"] == 1

    async def test_most_people_decide_and_where_they_are_split_nobody_does(
        self, world: World, database: Database
    ) -> None:
        _, version, criterion = await made(world)
        for person, passed in (("u1", True), ("u2", True), ("u3", False)):
            await world.people_say(criterion, "req_1", passed, annotator_id=person)
        for person, passed in (("u1", True), ("u2", False)):
            await world.people_say(criterion, "req_2", passed, annotator_id=person)
        for id in ("req_1", "req_2"):
            await judge_says(database, version, criterion, id, True)
        row = await calibrate(database, version)
        assert (row.n, row.report["agreement"], row.report["left_out"]["people_disagree"]) == (1, 1.0, 1)

    @pytest.mark.parametrize(
        "changes",
        [
            {"status": "error", "passed": None, "score": None, "error_code": "parse"},
            {"identifier": "member"},
            {"attempt": 1},
            {"eval_run_id": "evalrun_1"},
        ],
        ids=str,
    )
    async def test_errors_parts_repeats_and_evals_do_not_count(
        self, world: World, database: Database, changes: dict[str, Any]
    ) -> None:
        _, version, criterion = await made(world)
        await world.people_say(criterion, "req_1", True)
        await judge_says(database, version, criterion, "req_1", **({"passed": True} | changes))
        row = await calibrate(database, version)
        assert (row.n, row.kappa) == (0, None)
        assert row.report["reason"] == "nothing was judged by both"


class TestTrust:
    async def trusted(self, world: World, table: list[list[int]]) -> tuple[JudgeRow, JudgeVersionRow, CriterionRow]:
        judge, version, criterion = await made(world)
        await fill(world, version, criterion, table)
        await calibrate(world.database, version)
        return judge, version, criterion

    async def require(self, database: Database, version: JudgeVersionRow) -> None:
        async with database.session() as session:
            await trust.require_trusted(session, [version.id])

    async def test_enough_agreement_is_trusted(self, world: World, database: Database) -> None:
        _, version, _ = await self.trusted(world, [[20, 1], [1, 20]])
        await self.require(database, version)

    async def test_never_held_against_people_is_not(self, world: World, database: Database) -> None:
        _, version, criterion = await made(world)
        await judge_says(database, version, criterion, "req_1", True)
        with pytest.raises(
            Conflict, match=r"'j' .version 1. is not trusted: It was never held against people"
        ) as refused:
            await self.require(database, version)
        assert refused.value.code == "judge_not_trusted"

    async def test_the_same_agreement_on_few_answers_is_not(self, world: World, database: Database) -> None:
        _, version, _ = await self.trusted(world, [[10, 0], [0, 10]])
        with pytest.raises(Conflict, match="People have judged 20 of the answers"):
            await self.require(database, version)

    @pytest.mark.parametrize("table", [[[29, 0], [0, 1]], [[31, 0], [0, 9]], [[9, 0], [0, 40]]])
    async def test_agreement_on_answers_that_are_nearly_all_alike_is_not(
        self, world: World, database: Database, table: list[list[int]]
    ) -> None:
        """With one bad answer of thirty, a toss of a coin makes a judge that agrees always."""
        _, version, _ = await self.trusted(world, table)
        good, bad = sum(table[0]), sum(table[1])
        why = f"People found {good} of these answers good and {bad} bad; 10 of each are needed."
        with pytest.raises(Conflict, match=why):
            await self.require(database, version)

    async def test_nor_on_pairs_of_which_one_side_won_nearly_always(self, world: World, database: Database) -> None:
        criterion = await world.criterion("preference")
        _, version = await world.judge(LlmSpec(model="five"), criterion="preference")
        for number in range(32):
            pair = {"other_exchange_id": f"req_b{number}", "preference": "b" if number < 2 else "a", "score": None}
            await judge_says(database, version, criterion, f"req_a{number}", None, **pair)
            await world.people_say(criterion, f"req_a{number}", None, **pair)
        await calibrate(database, version)
        with pytest.raises(Conflict, match="People said the same of all but 2 of these answers; 10 others are needed"):
            await self.require(database, version)

    async def test_agreement_that_may_be_chance_is_not(self, world: World, database: Database) -> None:
        _, version, _ = await self.trusted(world, [[14, 6], [6, 14]])
        with pytest.raises(Conflict, match="may be as low as"):
            await self.require(database, version)

    async def test_its_own_bar_counts(self, world: World, database: Database) -> None:
        judge, version, _ = await self.trusted(world, [[20, 1], [1, 20]])
        async with database.session() as session:
            (await session.get_one(JudgeRow, judge.id)).min_kappa = 0.99
        with pytest.raises(Conflict, match=r"0\.99 is needed"):
            await self.require(database, version)

    async def test_without_enough_verdicts_it_fails_closed(self, world: World, database: Database) -> None:
        """Pitfall 5: of what it was asked, not of what it answered."""
        _, version, criterion = await self.trusted(world, [[20, 1], [1, 20]])
        for number in range(5):
            failed = {"status": "error", "error_code": "parse"}
            await judge_says(database, version, criterion, f"req_bad{number}", None, **failed)
        async with database.session() as session:
            covered = await trust.covered(session, version.id)
        assert (covered.ok, covered.errors, covered.by_code) == (42, 5, {"parse": 5})
        assert covered.mean_score == pytest.approx(0.5), "over what is ok alone"
        with pytest.raises(Conflict, match="89% of what it was asked"):
            await self.require(database, version)

    async def test_what_waits_is_counted_as_asked(self, world: World, database: Database) -> None:
        _, version, _ = await self.trusted(world, [[20, 1], [1, 20]])
        await world.ask(version, *(f"req_wait{number}" for number in range(10)))
        with pytest.raises(Conflict, match="81% of what"):
            await self.require(database, version)

    async def test_the_newest_calibration_counts(self, world: World, database: Database) -> None:
        _, version, criterion = await self.trusted(world, [[20, 1], [1, 20]])
        for number in range(1, 43):
            await world.people_say(criterion, f"req_{number}", number % 2 == 0)
        await calibrate(database, version)
        with pytest.raises(Conflict):
            await self.require(database, version)


async def test_versions_with_more_to_compare_are_due_but_not_at_once_again(world: World, database: Database) -> None:
    _, version, criterion = await made(world)

    async def due() -> list[str]:
        async with database.session() as session:
            return await calibrations.due(session)

    await judge_says(database, version, criterion, "req_1", True)
    assert await due() == []
    await world.people_say(criterion, "req_1", True)
    assert await due() == [version.id]
    await calibrate(database, version)
    await world.people_say(criterion, "req_1", False)
    assert await due() == [], "a moment ago"
    async with database.session() as session:
        for row in await session.scalars(select(CalibrationRow)):
            row.created_at = row.created_at.replace(year=2020)
    assert await due() == [version.id]
