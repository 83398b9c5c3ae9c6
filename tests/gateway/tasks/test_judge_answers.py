"""Every task ends in a judgment: a verdict, or an error that never is a score."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from gateway.asking import NotAsked
from gateway.db.database import Database
from gateway.db.tables import ExchangeDeletionRow, JudgeRow, JudgmentRow
from gateway.judging import repository, work
from gateway.kit.clock import now
from gateway.protocol.judges import LlmExample, LlmSampling, LlmSpec, RuleSpec
from gateway.services import WorkerServices, worker_services
from gateway.settings import Settings
from gateway.tasks import judging_cases
from gateway.tasks.judge_answers import Judging, judge
from gateway.tasks.judging_cases import Case
from tests.fakes.judging import FakeAsking, World, echo, material, prefers, says
from tests.judges.llm.payloads import PAYLOADS
from tests.polling import until

pytestmark = pytest.mark.anyio

AWAY = NotAsked("It is away.", code="upstream", retry=True)
LIMITED = NotAsked("Too many.", code="rate_limit", retry=True, retry_after=33.0)


@pytest.fixture
async def world(database: Database) -> World:
    return await World(database).open()


@pytest.fixture
def asking() -> FakeAsking:
    return FakeAsking(
        {
            "five": says(5),
            "four": says(4),
            "one": says(1),
            "first": says("first"),
            "right": prefers("right"),
            "echo": echo,
            "garbage": lambda _: "7/10",
            "nul": lambda body: says(3)(body).replace("because", "a\\u0000b\\ud800"),
            "away": AWAY,
            "limited": LIMITED,
            "poor": NotAsked("The budget is used up.", code="quota", retry=False),
            "unknown": NotAsked("There is no such model.", code="refused", retry=False),
            "slow": NotAsked("No answer.", code="timeout", retry=True),
        }
    )


@pytest.fixture
async def wv(settings: Settings, asking: FakeAsking) -> AsyncIterator[WorkerServices]:
    async with worker_services(settings) as wv:
        yield replace(wv, asking=asking)  # type: ignore[arg-type]


async def erased(database: Database) -> set[str]:
    async with database.session() as session:
        return set(await session.scalars(select(ExchangeDeletionRow.exchange_id)))


async def each_try_dies(world: World, database: Database) -> None:
    """Whatever the only task does to its worker, as often as it may be tried."""
    for number in range(work.MAX_TRIES):
        async with database.session() as session:
            assert len(await work.claim(session, f"dead {number}", 1)) == 1
        await world.expire_leases()


async def judge_one(world: World, wv: WorkerServices, spec: LlmSpec, **answer: Any) -> JudgmentRow:
    """The judgment of one answer."""
    _, version = await world.judge(spec)
    await world.ask(version, await world.answer(**answer))
    await world.work_off(wv)
    (row,) = await world.judged()
    return row


class TestOneJudge:
    async def test_a_verdict_with_its_cost_and_the_judges_own_call(
        self, world: World, wv: WorkerServices, asking: FakeAsking
    ) -> None:
        row = await judge_one(world, wv, LlmSpec(model="four"))
        assert (row.status, row.score, row.raw_value, row.passed, row.kind) == ("ok", 0.75, 4, True, "numeric")
        assert (row.source, row.rationale, row.cost_nano, row.judge_exchange_id) == (
            "llm",
            "because",
            1000,
            "req_judge1",
        )
        assert row.latency_ms == 5.0
        assert asking.purposes == {"judge"}
        (task,) = await world.tasks()
        assert task.done_at is not None

    async def test_sampling_is_kept_with_the_verdict(
        self, world: World, wv: WorkerServices, database: Database
    ) -> None:
        _, version = await world.judge()
        await world.ask(version, await world.answer())
        (task,) = await world.tasks()
        async with database.session() as session:
            (await session.get_one(type(task), task.id)).sampling = {"probability": 0.5, "policy": "watch"}
        await world.work_off(wv)
        assert (await world.judged())[0].sampling == {"probability": 0.5, "policy": "watch"}

    async def test_is_told_what_its_spec_says(self, world: World, wv: WorkerServices, asking: FakeAsking) -> None:
        example = LlmExample(question="q", answer="a", result=2)
        sampling = LlmSampling(temperature=0.5, seed=7)
        await judge_one(world, wv, LlmSpec(model="five", prompt="Be strict.", sampling=sampling, examples=[example]))
        (body,) = asking.bodies
        assert (body["temperature"], body["seed"], body["model"]) == (0.5, 7, "five")
        assert "top_p" not in body
        assert "Be strict." in body["messages"][0]["content"]
        assert body["response_format"]["json_schema"]["strict"] is True
        assert material(body)["answer"]["content"] == "hi"

    async def test_a_model_without_structured_outputs_is_asked_again_without(
        self, world: World, wv: WorkerServices, asking: FakeAsking
    ) -> None:
        def answer(body: dict[str, Any]) -> str:
            if "response_format" in body:
                raise NotAsked("response_format is not supported", code="refused", retry=False)
            return says(3)(body)

        asking.models["plain"] = answer
        row = await judge_one(world, wv, LlmSpec(model="plain"))
        assert (row.status, row.score) == ("ok", 0.5)
        assert len(asking.bodies) == 2

    async def test_unstructured_on_purpose(self, world: World, wv: WorkerServices, asking: FakeAsking) -> None:
        await judge_one(world, wv, LlmSpec(model="five", structured=False))
        assert "response_format" not in asking.bodies[0]

    async def test_repeats_are_judgments_of_their_own(self, world: World, wv: WorkerServices) -> None:
        _, version = await world.judge()
        await world.ask(version, await world.answer(), repeats=3)
        await world.work_off(wv)
        assert sorted(row.attempt for row in await world.judged()) == [0, 1, 2]

    async def test_kin_is_noted(self, world: World, wv: WorkerServices) -> None:
        row = await judge_one(world, wv, LlmSpec(model="five"), served_model="ft:five:org:s:abcdefgh")
        assert row.judgment_metadata == {
            "self_preference": [{"judge": "five", "candidate": "ft:five:org:s:abcdefgh", "relation": "same_base"}]
        }

    async def test_characters_that_no_database_holds_break_nothing(self, world: World, wv: WorkerServices) -> None:
        row = await judge_one(world, wv, LlmSpec(model="nul"))
        assert (row.status, row.rationale) == ("ok", "a\ufffdb?")


class TestReference:
    async def test_a_persons_correction_is_shown(self, world: World, wv: WorkerServices, asking: FakeAsking) -> None:
        id = await world.answer(request_metadata={"reference": "from the call"})
        edit = await world.criterion("correction")
        message = {"role": "assistant", "content": "as it should be"}
        await world.people_say(edit, id, None, edited_message=message)
        _, version = await world.judge(LlmSpec(model="five", reference=True))
        await world.ask(version, id)
        await world.work_off(wv)
        assert material(asking.bodies[0])["reference"] == "as it should be"

    async def test_else_what_the_call_named(self, world: World, wv: WorkerServices, asking: FakeAsking) -> None:
        spec = LlmSpec(model="five", reference=True)
        await judge_one(world, wv, spec, request_metadata={"reference": "from the call"})
        assert material(asking.bodies[0])["reference"] == "from the call"

    async def test_without_one_nothing_is_asked(self, world: World, wv: WorkerServices, asking: FakeAsking) -> None:
        row = await judge_one(world, wv, LlmSpec(model="five", reference=True))
        assert (row.status, row.score, row.error_code) == ("abstained", None, None)
        assert asking.bodies == []


class TestErrors:
    @pytest.mark.parametrize(("model", "code"), [("garbage", "parse"), ("poor", "quota"), ("unknown", "refused")])
    async def test_end_the_task_with_an_error_and_no_score(
        self, world: World, wv: WorkerServices, model: str, code: str
    ) -> None:
        row = await judge_one(world, wv, LlmSpec(model=model))
        assert (row.status, row.error_code, row.score, row.passed) == ("error", code, None, None)
        assert row.rationale

    @pytest.mark.parametrize(
        "changes", [{"logging": "metadata", "request": b"", "reply": b""}, {"reply": b"no json"}], ids=str
    )
    async def test_what_is_not_kept_cannot_be_judged(
        self, world: World, wv: WorkerServices, asking: FakeAsking, changes: dict[str, Any]
    ) -> None:
        row = await judge_one(world, wv, LlmSpec(model="five"), **changes)
        assert (row.status, row.error_code) == ("error", "not_logged")
        assert asking.bodies == []

    @pytest.mark.parametrize(("model", "code"), [("away", "upstream"), ("limited", "rate_limit"), ("slow", "timeout")])
    async def test_what_may_pass_is_tried_again_and_at_last_an_error(
        self, world: World, wv: WorkerServices, asking: FakeAsking, model: str, code: str
    ) -> None:
        _, version = await world.judge(LlmSpec(model=model))
        await world.ask(version, await world.answer())
        for _ in range(work.MAX_TRIES):
            assert await world.judged() == []
            await world.work_off(wv)
            await world.make_due()
        (row,) = await world.judged()
        assert (row.status, row.error_code) == ("error", code)
        assert len(asking.bodies) == work.MAX_TRIES

    async def test_waits_as_long_as_it_is_told(self, world: World, wv: WorkerServices) -> None:
        _, version = await world.judge(LlmSpec(model="limited"))
        await world.ask(version, await world.answer())
        await world.work_off(wv)
        (task,) = await world.tasks()
        assert 25 < (task.due_at - now()).total_seconds() <= 33

    async def test_a_verdict_takes_the_place_of_an_error_when_it_is_asked_for_again(
        self, world: World, wv: WorkerServices, asking: FakeAsking
    ) -> None:
        _, version = await world.judge(LlmSpec(model="poor"))
        id = await world.answer()
        await world.ask(version, id)
        await world.work_off(wv)
        asking.models["poor"] = says(5)
        assert await world.ask(version, id) == 1
        await world.work_off(wv)
        (row,) = await world.judged()
        assert (row.status, row.score) == ("ok", 1.0)
        assert row.supersedes_id is not None

    async def test_a_fault_of_ours_is_an_error_in_the_end(
        self, world: World, wv: WorkerServices, asking: FakeAsking
    ) -> None:
        def broken(_: dict[str, Any]) -> str:
            raise RuntimeError("secret")

        asking.models["broken"] = broken
        _, version = await world.judge(LlmSpec(model="broken"))
        await world.ask(version, await world.answer())
        for _ in range(work.MAX_TRIES):
            await world.work_off(wv)
            await world.make_due()
        (row,) = await world.judged()
        assert (row.status, row.error_code, row.rationale) == ("error", "upstream", "A fault of the worker.")

    async def test_so_is_one_of_reading_what_is_judged(
        self, world: World, wv: WorkerServices, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It was tried every minute for ever."""
        monkeypatch.setattr(judging_cases, "subject", lambda *_: 1 // 0)
        _, version = await world.judge()
        await world.ask(version, await world.answer())
        for _ in range(work.MAX_TRIES):
            assert await world.judged() == []
            await world.work_off(wv)
            await world.make_due()
        (row,) = await world.judged()
        assert (row.status, row.error_code, row.rationale) == ("error", "upstream", "A fault of the worker.")
        assert [task.done_at is not None for task in await world.tasks()] == [True]

    @pytest.mark.parametrize("broken", ["the judge", "the verdict"])
    async def test_a_task_that_nothing_can_be_written_of_ends_too(
        self, world: World, wv: WorkerServices, monkeypatch: pytest.MonkeyPatch, broken: str
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise ZeroDivisionError

        if broken == "the judge":
            monkeypatch.setattr(judging_cases, "_named", fail)
        else:
            monkeypatch.setattr(Case, "verdict", fail)
        _, version = await world.judge()
        await world.ask(version, await world.answer())
        for _ in range(work.MAX_TRIES):
            await world.work_off(wv)
            await world.make_due()
        assert await world.judged() == []
        assert [task.done_at is not None for task in await world.tasks()] == [True]

    async def test_answers_that_speak_to_an_echoing_judge_get_no_score(self, world: World, wv: WorkerServices) -> None:
        """Pitfall 4, through everything but the network."""
        _, version = await world.judge(LlmSpec(model="echo"))
        ids = [await world.answer(text=payload) for payload in PAYLOADS.values()]
        await world.ask(version, *ids)
        await world.work_off(wv)
        rows = await world.judged()
        assert {row.exchange_id for row in rows} == set(ids)
        assert {(row.status, row.score, row.passed) for row in rows} == {("error", None, None)}


class TestComparisons:
    async def compare(self, world: World, wv: WorkerServices, model: str, **spec: Any) -> list[JudgmentRow]:
        """Right against wrong, everything that is written of it; the answers' ids sort that way."""
        _, version = await world.judge(LlmSpec(model=model, **spec), criterion="preference")
        await world.ask(version, (await world.answer("right"), await world.answer("wrong")))
        await world.work_off(wv)
        return await world.judged(parts=True)

    async def test_a_judge_by_place_comes_to_a_tie(self, world: World, wv: WorkerServices) -> None:
        rows = await self.compare(world, wv, "first")
        orders = {row.order_shown: row.preference for row in rows}
        assert orders == {"ab": "a", "ba": "b", None: "tie"}
        whole = next(row for row in rows if row.order_shown is None)
        assert (whole.status, whole.error_code, whole.score) == ("ok", "position_inconsistent", 0.5)
        assert whole.judgment_metadata == {"consistent": False}

    async def test_a_true_preference_is_the_verdict_and_names_its_parts(self, world: World, wv: WorkerServices) -> None:
        rows = await self.compare(world, wv, "right")
        whole = next(row for row in rows if row.order_shown is None)
        parts = [row for row in rows if row is not whole]
        assert (whole.preference, whole.error_code, whole.score) == ("a", None, 1.0)
        assert set(whole.derived_from or []) == {row.id for row in parts}
        assert {row.pair_group_id for row in rows} == {whole.pair_group_id}
        assert whole.pair_group_id is not None
        assert [row.cost_nano for row in parts] == [1000, 1000]
        assert whole.cost_nano is None, "or the sum would count it twice"

    async def test_a_panel_compares_in_both_orders_each(self, world: World, wv: WorkerServices) -> None:
        rows = await self.compare(world, wv, "right", panel=["first"])
        assert len(rows) == 5
        whole = next(row for row in rows if row.order_shown is None)
        assert whole.preference == "tie"


class TestPanel:
    async def test_mean_of_its_members(self, world: World, wv: WorkerServices) -> None:
        row = await judge_one(world, wv, LlmSpec(model="five", panel=["one", "five2"], combine="mean"))
        assert row.status == "ok"

    @pytest.fixture(autouse=True)
    def another(self, asking: FakeAsking) -> None:
        asking.models["five2"] = says(5)

    async def test_members_are_judgments_of_their_own(self, world: World, wv: WorkerServices) -> None:
        row = await judge_one(world, wv, LlmSpec(model="five", panel=["one", "five2"]))
        parts = [each for each in await world.judged(parts=True) if each.identifier]
        assert {each.identifier: each.score for each in parts} == {"five": 1.0, "one": 0.0, "five2": 1.0}
        assert row.score == pytest.approx(2 / 3)
        assert set(row.derived_from or []) == {each.id for each in parts}

    async def test_who_has_answered_is_not_asked_again(
        self, world: World, wv: WorkerServices, asking: FakeAsking
    ) -> None:
        _, version = await world.judge(LlmSpec(model="five", panel=["late"]))
        asking.models["late"] = AWAY
        await world.ask(version, await world.answer())
        await world.work_off(wv)
        assert await world.judged() == []
        asking.models["late"] = says(1)
        await world.make_due()
        await world.work_off(wv)
        (row,) = await world.judged()
        assert row.score == 0.5
        assert [body["model"] for body in asking.bodies] == ["five", "late", "late"]

    async def test_nor_is_who_gave_no_verdict_until_it_is_asked_for_again(
        self, world: World, wv: WorkerServices, asking: FakeAsking
    ) -> None:
        """Each try paid for the same nonsense, and only the last one's cost was written down."""
        _, version = await world.judge(LlmSpec(model="garbage", panel=["late"]))
        asking.models["late"] = AWAY
        id = await world.answer()
        await world.ask(version, id)
        await world.work_off(wv)
        [part] = await world.judged(parts=True)
        assert (part.identifier, part.status, part.error_code, part.cost_nano) == ("garbage", "error", "parse", 1000)
        asking.models["late"] = says(1)
        await world.make_due()
        await world.work_off(wv)
        (row,) = await world.judged()
        assert (row.status, part.id in (row.derived_from or [])) == ("error", True)
        assert [body["model"] for body in asking.bodies] == ["garbage", "late", "late"]
        asking.models["garbage"] = says(5)
        assert await world.ask(version, id) == 1
        await world.work_off(wv)
        (row,) = await world.judged()
        assert (row.status, row.score) == ("ok", 0.5)
        assert [body["model"] for body in asking.bodies][3:] == ["garbage"]


class TestDeath:
    async def test_what_a_dead_worker_had_begun_another_ends(
        self, world: World, wv: WorkerServices, database: Database
    ) -> None:
        """Pitfall 20: as after kill -9, nobody gives the tasks back."""
        _, version = await world.judge()
        ids = {await world.answer() for _ in range(5)}
        await world.ask(version, *ids)
        async with database.session() as session:
            assert len(await work.claim(session, "the dead", 3)) == 3
        await Judging(wv).begin()

        async def others_done() -> bool:
            return len(await world.judged()) == 2

        await until(others_done)
        await world.expire_leases()
        await world.work_off(wv)
        assert {row.exchange_id for row in await world.judged()} == ids
        assert len(await world.judged()) == 5

    async def test_whose_lease_ran_out_writes_nothing(
        self, world: World, wv: WorkerServices, asking: FakeAsking, database: Database
    ) -> None:
        """Two workers judge the same answer in the end; one word of it is kept, and the other's call is erased."""
        began, go = asyncio.Event(), asyncio.Event()

        async def slowly(body: dict[str, Any]) -> str:
            began.set()
            await go.wait()
            return says(5)(body)

        asking.models["stolen"] = slowly
        _, version = await world.judge(LlmSpec(model="stolen"))
        await world.ask(version, await world.answer())
        async with database.session() as session:
            (mine,) = await work.claim(session, "mine", 1)
        losing = asyncio.create_task(judge(wv, mine))
        await began.wait()
        await world.expire_leases()
        asking.models["stolen"] = says(1)
        await world.work_off(wv)
        go.set()
        await losing
        (row,) = await world.judged()
        assert (row.score, row.judge_exchange_id) == (0.0, "req_judge2")
        assert await erased(database) == {"req_judge1"}

    async def test_a_task_that_ends_its_worker_each_time_is_given_up(
        self, world: World, wv: WorkerServices, asking: FakeAsking, database: Database
    ) -> None:
        _, version = await world.judge()
        await world.ask(version, await world.answer())
        await each_try_dies(world, database)
        await world.work_off(wv)
        (row,) = await world.judged()
        assert (row.status, row.error_code) == ("error", "timeout")
        assert asking.bodies == []

    async def test_what_ends_its_worker_is_not_read_again_to_say_so(
        self, world: World, wv: WorkerServices, monkeypatch: pytest.MonkeyPatch, database: Database
    ) -> None:
        monkeypatch.setattr(judging_cases, "subject", lambda *_: 1 // 0)
        _, version = await world.judge()
        await world.ask(version, await world.answer())
        await each_try_dies(world, database)
        await world.work_off(wv)
        (row,) = await world.judged()
        assert (row.status, row.error_code) == ("error", "timeout")

    async def test_a_worker_that_stops_leaves_its_tasks_to_others_at_once(
        self, world: World, settings: Settings, asking: FakeAsking
    ) -> None:
        began = asyncio.Event()

        class Hanging(FakeAsking):
            async def chat(self, project_id: str, purpose: str, body: dict[str, Any]) -> Any:
                began.set()
                await asyncio.Event().wait()

        _, version = await world.judge()
        await world.ask(version, await world.answer())
        async with worker_services(settings) as stopping:
            await Judging(replace(stopping, asking=Hanging())).begin()  # type: ignore[arg-type]
            await began.wait()
        (task,) = await world.tasks()
        assert (task.leased_until, task.tries, task.done_at) == (None, 0, None)

    async def test_of_two_orders_the_one_that_was_answered_is_not_asked_for_again(
        self, world: World, wv: WorkerServices, asking: FakeAsking, database: Database
    ) -> None:
        """Whoever is killed or stops between the two has written the first one down."""
        began = asyncio.Event()

        async def hangs(body: dict[str, Any]) -> str:
            if len(asking.bodies) == 1:
                return says("first")(body)
            began.set()
            return await asyncio.Future[str]()

        asking.models["dies"] = hangs
        _, version = await world.judge(LlmSpec(model="dies"), criterion="preference")
        await world.ask(version, (await world.answer("one"), await world.answer("two")))
        async with database.session() as session:
            (task,) = await work.claim(session, "the dead", 1)
        dying = asyncio.create_task(judge(wv, task))
        await began.wait()
        assert [row.order_shown for row in await world.judged(parts=True)] == ["ab"]
        dying.cancel()
        await asyncio.wait([dying])
        asking.models["dies"] = says("first")
        await world.work_off(wv)
        assert [row.order_shown for row in await world.judged(parts=True)] == ["ab", "ba", None]
        assert len(asking.bodies) == 3

    async def test_no_more_at_a_time_than_there_are_lanes(
        self, world: World, wv: WorkerServices, asking: FakeAsking
    ) -> None:
        at_once = most = 0
        go = asyncio.Event()

        class Counting(FakeAsking):
            async def chat(self, project_id: str, purpose: str, body: dict[str, Any]) -> Any:
                nonlocal at_once, most
                at_once += 1
                most = max(most, at_once)
                await go.wait()
                at_once -= 1
                return await super().chat(project_id, purpose, body)

        _, version = await world.judge()
        await world.ask(version, *[await world.answer() for _ in range(20)])
        judging = Judging(replace(wv, asking=Counting(asking.models)))  # type: ignore[arg-type]
        await judging.begin()
        await judging.begin()
        await until(lambda: at_once == wv.settings.worker.judges)
        go.set()

        async def all_done() -> bool:
            return len(await world.judged()) == 20

        await until(all_done)
        assert most == wv.settings.worker.judges


class TestRules:
    async def judged_by(self, world: World, wv: WorkerServices, rules: list[Any], text: str) -> JudgmentRow:
        spec = msgspec.convert({"type": "rule", "rules": rules}, RuleSpec)
        _, version = await world.judge(spec, criterion="thumbs")
        await world.ask(version, await world.answer(text))
        await world.work_off(wv)
        (row,) = await world.judged()
        return row

    async def test_all_of_them_make_one_verdict(self, world: World, wv: WorkerServices, asking: FakeAsking) -> None:
        row = await self.judged_by(world, wv, [{"type": "json"}, {"type": "length", "least": 1}], "{}")
        assert (row.source, row.status, row.passed, row.score, row.tags) == ("rule", "ok", True, 1.0, [])
        assert asking.bodies == []

    async def test_those_that_are_broken_are_counted_as_tags(self, world: World, wv: WorkerServices) -> None:
        row = await self.judged_by(world, wv, [{"type": "json"}, {"type": "length", "least": 1}], "no")
        assert (row.status, row.passed, row.score, row.tags) == ("ok", False, 0.5, ["json"])
        assert row.rationale is not None
        assert row.rationale.startswith("json: ")
        told = (row.judgment_metadata or {})["rules"]
        assert [(each["rule"], each["passed"]) for each in told] == [("json", False), ("length", True)]

    async def test_one_that_cannot_be_applied_is_an_error_and_no_score(self, world: World, wv: WorkerServices) -> None:
        row = await self.judged_by(world, wv, [{"type": "json"}, {"type": "json_schema"}], "{}")
        assert (row.status, row.error_code, row.passed, row.score) == ("error", "rule", None, None)

    @pytest.mark.parametrize("tools", [5, True])
    async def test_tools_that_are_no_list_are_none(self, world: World, wv: WorkerServices, tools: Any) -> None:
        spec = msgspec.convert({"type": "rule", "rules": [{"type": "tool_calls"}]}, RuleSpec)
        _, version = await world.judge(spec, criterion="thumbs")
        request = {"messages": [{"role": "user", "content": "hello"}], "tools": tools}
        await world.ask(version, await world.answer("hi", request=msgspec.json.encode(request)))
        await world.work_off(wv)
        assert [row.passed for row in await world.judged()] == [True]


class TestNobodyMayJudge:
    async def test_what_was_erased_meanwhile(
        self, world: World, wv: WorkerServices, asking: FakeAsking, database: Database
    ) -> None:
        _, version = await world.judge()
        id = await world.answer()
        await world.ask(version, id)
        async with database.session() as session:
            session.add(
                ExchangeDeletionRow(exchange_id=id, project_id=world.project_id, deleted_at=now(), deleted_by="k")
            )
        await world.work_off(wv)
        assert (await world.judged(), asking.bodies) == ([], [])

    async def test_what_belongs_to_another_project(self, world: World, wv: WorkerServices, asking: FakeAsking) -> None:
        row = await judge_one(world, wv, LlmSpec(model="five"), project_id="proj_other")
        assert row.error_code == "not_logged"
        assert asking.bodies == []

    async def test_once_the_judge_is_archived(
        self, world: World, wv: WorkerServices, asking: FakeAsking, database: Database
    ) -> None:
        row, version = await world.judge()
        await world.ask(version, await world.answer())
        async with database.session() as session:
            (task,) = await work.claim(session, "mine", 1)
            await repository.archive(session, await session.get_one(JudgeRow, row.id))

        await judge(wv, task)
        assert (await world.judged(), asking.bodies) == ([], [])
