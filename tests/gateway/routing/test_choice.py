"""In which order candidates are asked."""

import json
import random
from collections import Counter
from typing import Any

import msgspec
import pytest

from gateway.protocol.envelope import ChatEnvelope, CompletionEnvelope, Envelope
from gateway.routing.choice import ordered, sticky_key
from gateway.routing.load import Load
from gateway.routing.plan import Plan
from tests.gateway.routing.plans import fallback, plan, route

_decode = msgspec.json.Decoder(ChatEnvelope).decode


def call(**more: Any) -> ChatEnvelope:
    return _decode(json.dumps({"model": "r", "messages": [{"role": "user", "content": "hi"}], **more}))


def names(of: Plan, envelope: Envelope | None = None, load: Load | None = None, seed: int = 1) -> list[str]:
    draw = random.Random(seed).random
    return [each.deployment.model for each in ordered(of, envelope or call(), load or Load(), draw)]


def firsts(of: Plan, users: range, **more: Any) -> dict[int, str]:
    return {user: names(of, call(user=f"u{user}"), **more)[0] for user in users}


class TestOrdered:
    def test_one_target_then_the_fallbacks(self) -> None:
        assert names(plan(route("a", fallbacks=(fallback("b"), fallback("c"))))) == ["a", "b", "c"]

    def test_every_target_may_stand_in_for_another(self) -> None:
        found = names(plan(route("a", "b", "c", fallbacks=(fallback("z"),))))
        assert sorted(found[:3]) == ["a", "b", "c"]
        assert found[3] == "z"

    def test_a_call_that_must_not_fall_back_has_one_choice(self) -> None:
        assert len(names(plan(route("a", "b"), fall_back=False))) == 1

    def test_chance_keeps_to_the_weights(self) -> None:
        of, draw = plan(route("a=1", "b=3")), random.Random(7).random
        found = Counter(ordered(of, call(), Load(), draw)[0].deployment.model for _ in range(4000))
        assert 0.22 < found["a"] / 4000 < 0.28

    def test_chance_may_be_0(self) -> None:
        assert len(ordered(plan(route("a", "b")), call(), Load(), lambda: 0.0)) == 2


class TestSticky:
    def test_a_client_keeps_its_target(self) -> None:
        of = plan(route("a", "b", sticky="user"))
        assert firsts(of, range(50), seed=1) == firsts(of, range(50), seed=2)

    def test_clients_keep_to_the_weights(self) -> None:
        found = Counter(firsts(plan(route("a=1", "b=9", sticky="user")), range(4000)).values())
        assert 0.08 < found["a"] / 4000 < 0.12

    def test_a_change_of_weights_moves_as_few_as_it_must(self) -> None:
        before = firsts(plan(route("a=1", "b=9", sticky="user")), range(2000))
        after = firsts(plan(route("a=2", "b=8", sticky="user")), range(2000))
        moved = {(before[user], after[user]) for user in before if before[user] != after[user]}
        assert moved == {("b", "a")}, "nobody leaves the target that grows"
        assert 0.07 < sum(before[user] != after[user] for user in before) / 2000 < 0.13

    def test_a_new_target_takes_from_all_and_nobody_else_moves(self) -> None:
        before = firsts(plan(route("a", "b", sticky="user")), range(2000))
        after = firsts(plan(route("a", "b", "c", sticky="user")), range(2000))
        assert {after[user] for user in before if before[user] != after[user]} == {"c"}

    def test_without_a_key_chance_decides(self) -> None:
        of = plan(route("a", "b", sticky="user"))
        assert {names(of, call(), seed=seed)[0] for seed in range(20)} == {"a", "b"}


class TestLeastLoad:
    def test_the_fewest_calls_for_its_weight(self) -> None:
        of, load = plan(route("a=1", "b=4", balance="least_load")), Load()
        for model, times in (("a", 1), ("b", 3)):
            for _ in range(times):
                load.begin("u", model)
        assert names(of, load=load) == ["b", "a"]
        load.begin("u", "b")
        load.begin("u", "b")
        assert names(of, load=load) == ["a", "b"]

    def test_a_client_that_is_known_stays(self) -> None:
        of, load = plan(route("a", "b", sticky="user", balance="least_load")), Load()
        first = names(of, call(user="x"))[0]
        for _ in range(9):
            load.begin("u", first)
        assert names(of, call(user="x"), load)[0] == first


class TestStickyKey:
    def test_user(self) -> None:
        assert sticky_key("user", call(user="ann")) == b'"ann"'
        assert sticky_key("user", call()) is None
        assert sticky_key("user", call(user=None)) is None
        assert sticky_key("user", call(user={"odd": 1})) == b'{"odd": 1}'

    def test_metadata(self) -> None:
        assert sticky_key("metadata.team", call(metadata={"team": "a"})) == b"a"
        assert sticky_key("metadata.team", call(metadata={"other": "a"})) is None
        assert sticky_key("metadata.team", call()) is None

    def test_a_conversation_is_how_it_began(self) -> None:
        system, hi, more = (
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": "hi"},
            [{"role": "assistant", "content": "hello"}, {"role": "user", "content": "and?"}],
        )
        began = sticky_key("conversation", call(messages=[system, hi]))
        assert began == sticky_key("conversation", call(messages=[system, hi, *more]))
        assert began != sticky_key("conversation", call(messages=[hi, *more]))
        assert began != sticky_key("conversation", call(messages=[system, {"role": "user", "content": "ho"}]))

    @pytest.mark.parametrize("messages", [[1], ["x"], [{"role": 3}], [None]])
    def test_messages_that_are_none_do_no_harm(self, messages: list[Any]) -> None:
        assert sticky_key("conversation", call(messages=messages))

    def test_what_has_no_conversation(self) -> None:
        assert sticky_key("conversation", call(messages=[])) is None
        assert sticky_key("conversation", CompletionEnvelope(model="r")) is None
