"""What a refusal means for the next step."""

import pytest

from gateway.errors import (
    ErrorObject,
    InvalidRequest,
    ModelLoading,
    ModelUnservable,
    Refusal,
    Unavailable,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamTimeout,
)
from gateway.protocol.routes import Condition
from gateway.routing.conditions import TELLING, condition_of, may_pass, retry_after

LONG = [
    "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens.",
    "The decoder prompt (length 5000) is longer than the maximum model length of 2048. Make sure that ...",
    "the request exceeds the available context size. try increasing the context size or enable context shift",
    "Requested token count exceeds the model's maximum context length of 4096 tokens.",
    "prompt is too long: 202609 tokens > 200000 maximum",
    "input length and `max_tokens` exceed context limit: 174167 + 64000 > 200000",
    "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000",
    "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
    "Input is too long for requested model.",
]


def refused(status: int, message: str = "no", code: str | None = None) -> UpstreamRefused:
    return UpstreamRefused(status, ErrorObject(message=message, type="invalid_request_error", code=code))


class TestConditionOf:
    @pytest.mark.parametrize("message", LONG)
    @pytest.mark.parametrize("status", [400, 413, 422])
    def test_a_call_that_is_too_long_in_the_words_of_many_servers(self, status: int, message: str) -> None:
        assert condition_of(refused(status, message), is_engine=False) == "context_length"

    @pytest.mark.parametrize(
        ("refusal", "condition"),
        [
            (refused(400, code="context_length_exceeded"), "context_length"),
            (UpstreamFailed("The upstream failed: " + LONG[0]), "context_length"),
            (refused(429), "rate_limit"),
            (refused(429, LONG[0]), "rate_limit"),
            (UpstreamFailed("slow down", code="rate_limit_exceeded"), "rate_limit"),
            (refused(408), "timeout"),
            (refused(402), "server_error"),
            (UpstreamTimeout("x"), "timeout"),
            (UpstreamFailed("x", reached=False), "connection"),
            (UpstreamFailed("x", answered=500), "server_error"),
            (UpstreamFailed("x", answered=401), "server_error"),
            (ModelUnservable("m", "gone"), "not_loaded"),
        ],
    )
    def test_what_another_model_may_mend(self, refusal: Refusal, condition: Condition) -> None:
        assert condition_of(refusal, is_engine=False) == condition

    def test_503_of_an_engine_says_that_it_loads(self) -> None:
        assert condition_of(ModelLoading("x"), is_engine=True) == "not_loaded"
        assert condition_of(ModelLoading("x"), is_engine=False) == "server_error"

    @pytest.mark.parametrize(
        "refusal",
        [
            refused(400, "messages[0].role is unknown"),
            refused(404),
            refused(409),
            refused(422, "temperature must be at most 2"),
            refused(404, LONG[0]),
            InvalidRequest("x"),
            Unavailable("This gateway is shutting down"),
        ],
    )
    def test_what_is_the_clients_fault_or_ours(self, refusal: Refusal) -> None:
        assert condition_of(refusal, is_engine=True) is None

    def test_each_condition_can_be_told(self) -> None:
        assert sorted(TELLING) == sorted(
            ["rate_limit", "server_error", "connection", "timeout", "context_length", "not_loaded"]
        )


class TestMayPass:
    def test_not_what_stays(self) -> None:
        stubborn = UpstreamFailed("x", headers={"x-should-retry": "false"})
        for refusal, condition in (
            (refused(400), "context_length"),
            (UpstreamFailed("x", answered=403), "server_error"),
            (refused(402), "server_error"),
            (stubborn, "server_error"),
        ):
            assert not may_pass(refusal, condition, elsewhere=True)  # type: ignore[arg-type]

    def test_a_model_that_is_not_loaded_may_be_elsewhere(self) -> None:
        assert may_pass(ModelLoading("x"), "not_loaded", elsewhere=True)
        assert not may_pass(ModelLoading("x"), "not_loaded", elsewhere=False)

    def test_everything_else(self) -> None:
        for condition in ("server_error", "connection", "timeout", "rate_limit"):
            assert may_pass(UpstreamFailed("x"), condition, elsewhere=False)  # type: ignore[arg-type]


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({}, 0),
            ({"retry-after": "7"}, 7),
            ({"retry-after": "0.5"}, 0.5),
            ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
            ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0),
            ({"retry-after": "-3"}, 0),
            ({"retry-after": "inf"}, 0),
            ({"retry-after": "nan"}, 0),
        ],
    )
    def test_is_read_in_seconds(self, headers: dict[str, str], seconds: float) -> None:
        assert retry_after(UpstreamFailed("x", headers=headers)) == seconds
