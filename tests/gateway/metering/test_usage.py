"""Tokens out of replies."""

import json
from typing import Any

import pytest

from gateway.kit.embedded import EMBEDDED_TOKENS
from gateway.metering.usage import Usage, completed, estimate_usage, read_usage


def body(usage: Any, **more: Any) -> bytes:
    return json.dumps({"id": "chatcmpl-1", "choices": [], "usage": usage} | more).encode()


class TestReadUsage:
    def test_reads_the_id_and_the_tokens(self) -> None:
        wire = {"prompt_tokens": 12, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 5}, "other": 1}
        assert read_usage(body(wire)) == ("chatcmpl-1", Usage(12, 5, 4))

    def test_embeddings_have_no_output(self) -> None:
        assert read_usage(body({"prompt_tokens": 3, "total_tokens": 3}))[1] == Usage(3, 0, 0)

    def test_cached_tokens_never_exceed_the_input(self) -> None:
        wire = {"prompt_tokens": 2, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 9}}
        assert read_usage(body(wire))[1] == Usage(2, 2, 1)

    @pytest.mark.parametrize("details", [None, {}, {"cached_tokens": None}])
    def test_without_details_nothing_was_cached(self, details: Any) -> None:
        wire = {"prompt_tokens": 2, "completion_tokens": 1, "prompt_tokens_details": details}
        assert read_usage(body(wire))[1] == Usage(2, 0, 1)

    @pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": None}])
    def test_nothing_is_no_usage(self, usage: Any) -> None:
        assert read_usage(body(usage)) == ("chatcmpl-1", None)

    @pytest.mark.parametrize("raw", [b"", b"[DONE]", b"[]", b"3", b"{", b"\xff"])
    def test_what_is_no_reply_has_neither(self, raw: bytes) -> None:
        assert read_usage(raw) == (None, None)

    @pytest.mark.parametrize("tokens", [-1, "many", 10**30, 1.5, []])
    def test_an_impossible_count_is_no_usage_and_the_id_stays(self, tokens: Any) -> None:
        assert read_usage(body({"prompt_tokens": tokens, "completion_tokens": 1})) == ("chatcmpl-1", None)

    def test_whole_floats_are_counts(self) -> None:
        assert read_usage(body({"prompt_tokens": 12.0, "completion_tokens": 4.0}))[1] == Usage(12, 0, 4)

    def test_a_count_that_is_null_is_none(self) -> None:
        assert read_usage(body({"prompt_tokens": 7, "completion_tokens": None}))[1] == Usage(7, 0, 0)

    def test_an_id_that_is_no_text_does_not_hide_the_usage(self) -> None:
        usage = {"prompt_tokens": 1, "completion_tokens": 1}
        assert read_usage(body(usage, id=17)) == (None, Usage(1, 0, 1))

    def test_a_reply_nested_without_end_is_no_reply(self) -> None:
        assert read_usage(b'{"x":' + b"[" * 100_000) == (None, None)


class TestEstimate:
    def test_four_characters_a_token_rounded_up(self) -> None:
        assert estimate_usage(b"x" * 9, "y" * 4) == Usage(3, 0, 1, estimated=True)

    def test_of_a_stream_that_was_cut_what_is_known_stays(self) -> None:
        assert completed(None, b"x" * 9, "y" * 8) == Usage(3, 0, 2, estimated=True)
        assert completed(Usage(50_000, 40_000, 0), b"x" * 9, "y" * 8) == Usage(50_000, 40_000, 2, estimated=True)
        assert completed(Usage(50_000, 0, 7), b"x" * 9, "y" * 8) == Usage(50_000, 0, 7)
        assert completed(Usage(50_000, 0, 0), b"x" * 9, "") == Usage(50_000, 0, 0)

    def test_what_is_embedded_is_no_text(self) -> None:
        """A photo of 1 MB is no 250,000 tokens."""
        photo = b'{"url": "data:image/jpeg;base64,' + b"A" * 1_000_000 + b'"}'
        assert estimate_usage(photo, "").input_tokens == EMBEDDED_TOKENS + 3

    def test_an_empty_reply_has_no_tokens(self) -> None:
        assert estimate_usage(b"", "").output_tokens == 0
