"""What a call can cost at most."""

import json
from typing import Any

import msgspec
import pytest

from gateway.errors import InvalidRequest
from gateway.metering.bounds import (
    COMPLETION_TOKENS,
    ENOUGH_TOKENS,
    LEAST_TOKENS,
    MESSAGE_TOKENS,
    TEMPLATE_TOKENS,
    TOOLS_TOKENS,
    Bound,
    bound,
    tokens_of,
)
from gateway.metering.cost import cost
from gateway.metering.prices import Price
from gateway.metering.usage import Usage
from gateway.protocol.envelope import ChatEnvelope, CompletionEnvelope
from gateway.settings import BudgetSettings
from tests.conftest import chat

SETTINGS = BudgetSettings(assumed_output_tokens=2_000, image_tokens=1_000, file_tokens=5_000)
PRICE = Price(input=5_000_000_000, cached_input=500_000_000, output=10_000_000_000)


def chat_bound(body: dict[str, Any], **prices: Price) -> Bound:
    raw = json.dumps(body).encode()
    return bound(msgspec.json.decode(raw, type=ChatEnvelope), raw, prices or {"echo": PRICE}, SETTINGS)


def completion_bound(**fields: Any) -> Bound:
    raw = json.dumps({"model": "echo"} | fields).encode()
    return bound(msgspec.json.decode(raw, type=CompletionEnvelope), raw, {"echo": PRICE}, SETTINGS)


def prompt_of(content: Any, **fields: Any) -> int:
    """Tokens beyond the bytes, for one message."""
    raw = json.dumps({"model": "echo", "messages": [{"role": "user", "content": content}]} | fields).encode()
    found = tokens_of(msgspec.json.decode(raw, type=ChatEnvelope), raw, SETTINGS).prompt
    return found - len(raw) - TEMPLATE_TOKENS - MESSAGE_TOKENS


class TestPrompt:
    def test_every_byte_is_a_token_and_the_template_adds_some(self) -> None:
        body = chat("echo", max_tokens=1)
        size = len(json.dumps(body))
        assert chat_bound(body).tokens.prompt == size + TEMPLATE_TOKENS + MESSAGE_TOKENS

    def test_tools_add_some(self) -> None:
        assert prompt_of("hello", tools=[]) == TOOLS_TOKENS
        assert prompt_of("hello", functions=[]) == TOOLS_TOKENS

    def test_an_image_has_an_allowance_instead_of_its_bytes(self) -> None:
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 2_000}}
        assert prompt_of([{"type": "text", "text": "what?"}, image]) == SETTINGS.image_tokens - len(json.dumps(image))

    def test_however_large_it_is(self) -> None:
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 5_000_000}}
        assert prompt_of([image]) == SETTINGS.image_tokens - len(json.dumps(image))

    def test_a_file_has_one_beside_its_bytes(self) -> None:
        assert prompt_of([{"type": "file", "file": {"file_id": "file-1"}}]) == SETTINGS.file_tokens
        assert prompt_of([{"type": "what is new"}, {"no": "type"}, 5]) == 3 * SETTINGS.file_tokens

    def test_a_list_in_another_place_changes_nothing(self) -> None:
        file = [{"type": "file", "file": {"file_id": "file-1"}}]
        assert prompt_of("[" * 5) == prompt_of("hello", stop=["a"]) == prompt_of("hello") == 0
        assert prompt_of(file, stop=["a"]) == prompt_of(file) == SETTINGS.file_tokens

    def test_text_and_sound_are_bounded_by_their_bytes(self) -> None:
        parts = [{"type": "text", "text": "x"}, {"type": "input_audio", "input_audio": {"data": "AAAA"}}]
        assert prompt_of(parts) == 0

    def test_a_text_adds_nothing_whatever_brackets_it_has(self) -> None:
        assert prompt_of("hello") == prompt_of("[hello]") == prompt_of('[{"type": "file"}]') == 0

    def test_what_is_no_message_is_for_the_upstream_to_refuse(self) -> None:
        assert chat_bound({"model": "echo", "messages": [1, None, {"content": 5}], "max_tokens": 1}).most > 0


class TestAnswer:
    def test_what_the_call_allows(self) -> None:
        for name in ("max_tokens", "max_completion_tokens"):
            assert chat_bound(chat("echo", **{name: 7})).tokens.asked == 7
        assert chat_bound(chat("echo", max_tokens=7, max_completion_tokens=9)).tokens.asked == 9
        assert chat_bound(chat("echo", max_tokens=None)).tokens.asked is None

    def test_of_every_choice(self) -> None:
        one, three = (chat_bound(chat("echo", max_tokens=100, n=n)) for n in (1, 3))
        assert three.most - one.most == 200 * 10_000

    def test_a_prediction_may_be_billed_beside_it(self) -> None:
        prediction = {"type": "content", "content": "x" * 100}
        body = chat("echo", max_tokens=1, prediction=prediction)
        assert chat_bound(body).tokens.predicted == len(json.dumps(prediction))

    @pytest.mark.parametrize("wrong", [0, -1, 1.5, "10", True, [], 10**30])
    @pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "n"])
    def test_what_is_no_limit_is_refused(self, name: str, wrong: Any) -> None:
        with pytest.raises(InvalidRequest) as refused:
            chat_bound(chat("echo", **{name: wrong}))
        assert refused.value.param == name

    def test_completions_have_a_default(self) -> None:
        found = completion_bound(prompt="hi")
        assert found.most == found.enough == found.least
        assert found.limits(found.most) == {"echo": COMPLETION_TOKENS}

    @pytest.mark.parametrize(
        ("prompt", "many"),
        [("a", 1), (["a", "b"], 2), ([1, 2, 3], 1), ([[1], [2], [3]], 3), ([], 1), (None, 1)],
    )
    def test_completions_answer_each_prompt(self, prompt: Any, many: int) -> None:
        assert completion_bound(prompt=prompt, max_tokens=5, n=2, best_of=3).tokens.choices == 3 * many


class TestBound:
    def test_no_usage_within_the_limits_costs_more(self) -> None:
        body = chat("echo", max_tokens=50, n=2)
        found = chat_bound(body)
        usage = Usage(found.tokens.prompt, 0, 100)
        assert cost(usage, PRICE).total == found.most == found.enough == found.least

    def test_cached_input_is_not_cheaper_and_may_be_dearer(self) -> None:
        dear = Price(input=1_000_000_000, cached_input=2_000_000_000, output=0, request=5)
        found = chat_bound(chat("echo", max_tokens=1), echo=dear)
        assert found.most == cost(Usage(found.tokens.prompt, found.tokens.prompt, 1), dear).total

    def test_the_dearest_model_that_may_answer(self) -> None:
        cheap = Price(input=1, cached_input=1, output=1)
        body = chat("echo", max_tokens=10)
        assert chat_bound(body, a=cheap, b=PRICE).most == chat_bound(body, b=PRICE).most

    def test_an_open_answer_is_as_long_as_the_model_or_the_settings_say(self) -> None:
        body = chat("echo")
        long = msgspec.structs.replace(SETTINGS, assumed_output_tokens=2_000)
        assert long.assumed_output_tokens == 2_000
        known = Price(input=0, cached_input=0, output=1_000_000, max_output_tokens=300)
        unknown = Price(input=0, cached_input=0, output=1_000_000)
        assert chat_bound(body, a=known).most == 300
        found = chat_bound(body, a=unknown)
        assert (found.most, found.enough, found.least) == (2_000, ENOUGH_TOKENS, LEAST_TOKENS)


class TestLimits:
    def test_none_where_the_call_says_it_itself(self) -> None:
        found = chat_bound(chat("echo", max_tokens=5))
        assert found.limits(found.most) == {}

    def test_none_where_the_model_keeps_to_it_by_its_nature(self) -> None:
        known = Price(input=0, cached_input=0, output=1_000_000, max_output_tokens=300)
        found = chat_bound(chat("echo"), a=known)
        assert found.limits(300) == {}
        assert found.limits(299) == {"a": 299}

    def test_what_the_money_pays_for_each_model(self) -> None:
        dear, cheap = Price(input=0, cached_input=0, output=10_000_000, request=7), Price(0, 0, 1_000_000)
        found = chat_bound(chat("echo", n=2), dear=dear, cheap=cheap)
        assert found.limits(107) == {"dear": 5, "cheap": 53}
        assert found.limits(found.most) == {"dear": 2_000, "cheap": 2_000}

    def test_an_answer_within_the_limit_is_paid(self) -> None:
        found = chat_bound(chat("echo", n=3))
        for amount in range(found.least, found.most, 997_331):
            tokens = found.limits(amount)["echo"]
            assert cost(Usage(found.tokens.prompt, 0, 3 * tokens), PRICE).total <= amount

    def test_free_output_needs_no_clamp(self) -> None:
        found = chat_bound(chat("echo"), a=Price(1_000_000, 0, 0))
        assert found.limits(found.least) == {"a": 2_000}
