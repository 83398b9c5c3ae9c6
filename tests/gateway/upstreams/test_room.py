"""What upstreams say when a limit is too large."""

import pytest

from gateway.upstreams.room import room_for_answer


class TestRoomForAnswer:
    @pytest.mark.parametrize(
        ("message", "room"),
        [
            (
                "'max_tokens' or 'max_completion_tokens' is too large: 16384. This model's maximum context length is 8192 "
                "tokens and your request has 5000 input tokens (16384 > 8192 - 5000).",
                3192,
            ),
            (
                "This model's maximum context length is 512 tokens. However, you requested 16404 tokens (20 in the "
                "messages, 16384 in the completion). Please reduce the length of the messages or completion.",
                492,
            ),
            (
                "max_tokens is too large: 16384. This model supports at most 4096 completion tokens, whereas you "
                "provided 16384.",
                4096,
            ),
            (
                "max_tokens: 16384 > 8192, which is the maximum allowed number of output tokens for claude-3-5-haiku",
                8192,
            ),
            (
                "input length and `max_tokens` exceed context limit: 190000 + 16384 > 200000, decrease input length or "
                "`max_tokens` and try again",
                10_000,
            ),
        ],
    )
    def test_as_providers_write_it(self, message: str, room: int) -> None:
        assert room_for_answer(message, 16_384) == room

    @pytest.mark.parametrize(
        "message",
        [
            "Invalid 'temperature'.",
            "This model's maximum context length is 512 tokens. However, your messages resulted in 600 tokens.",
            "(16384 > 8192 - 8192)",
            "(16384 > 99999 - 1)",
        ],
    )
    def test_anything_else_is_passed_on(self, message: str) -> None:
        assert room_for_answer(message, 16_384) is None

    def test_what_the_client_sent_is_not_searched_for_long(self) -> None:
        """It would be, for a time that grows with the square of its length."""
        assert room_for_answer(f"Invalid 'logit_bias': '{'1' * 100_000}x' is no token", 16_384) is None
        assert room_for_answer("9" * 500 + " > 8192 - " + "5" * 500, 16_384) is None
