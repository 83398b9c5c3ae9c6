"""What the gateway changes in a body, and what it must not."""

import json

import msgspec
import pytest

from gateway.protocol.envelope import (
    ChatEnvelope,
    CompletionEnvelope,
    StreamOptions,
    ask_for_usage,
    limit_answer,
    whole_number,
    with_field,
)

BODY = b'{ "model":"m", "messages" : [ {"role":"user","content":"\\u00e9 \xc3\xa9"} ], "stream":true, "x": 1.00, "big": 123456789012345678901 }'


class TestAskForUsage:
    def test_adds_nothing_but_the_option(self) -> None:
        asked = json.loads(ask_for_usage(BODY, None, running=False))
        assert asked == json.loads(BODY) | {"stream_options": {"include_usage": True}}

    def test_values_keep_their_bytes(self) -> None:
        asked = ask_for_usage(BODY, None, running=False)
        for kept in (b'[ {"role":"user","content":"\\u00e9 \xc3\xa9"} ]', b"1.00", b"123456789012345678901"):
            assert kept in asked

    def test_keeps_the_clients_other_options(self) -> None:
        body = b'{"model":"m","messages":[],"stream_options":{"include_obfuscation":false,"include_usage":false}}'
        options = msgspec.json.decode(body, type=ChatEnvelope).stream_options
        asked = json.loads(ask_for_usage(body, options, running=False))
        assert asked["stream_options"] == {"include_obfuscation": False, "include_usage": True}

    def test_null_options_are_none(self) -> None:
        body = b'{"model":"m","messages":[],"stream_options":null}'
        assert json.loads(ask_for_usage(body, None, running=False))["stream_options"] == {"include_usage": True}

    def test_our_engine_reports_with_every_chunk(self) -> None:
        body = b'{"model":"m","messages":[],"stream_options":{}}'
        asked = json.loads(ask_for_usage(body, StreamOptions(), running=True))
        assert asked["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}


class TestWholeNumber:
    @pytest.mark.parametrize(
        ("raw", "number"), [(b"1", 1), (b"256", 256), (b"123456789012345678901", 123456789012345678901)]
    )
    def test_is_what_it_says(self, raw: bytes, number: int) -> None:
        assert whole_number(msgspec.Raw(raw)) == number

    @pytest.mark.parametrize(
        "raw", [b"null", b"0", b"-5", b"1.5", b"10.0", b"true", b'"7"', b"[7]", b"{}", b"[" * 100_000]
    )
    def test_is_0_for_anything_else(self, raw: bytes) -> None:
        assert whole_number(msgspec.Raw(raw)) == 0


class TestWithField:
    @pytest.mark.parametrize("end", ["}", " }", "}\n", "\n}\r\n "])
    def test_the_rest_stays_to_the_byte(self, end: str) -> None:
        body = ('{"model": "m",\t"x": {"n": 1.00}' + end).encode()
        assert with_field(body, "max_tokens", 3).startswith(b'{"model": "m",\t"x": {"n": 1.00}')
        assert json.loads(with_field(body, "max_tokens", 3)) == {"model": "m", "x": {"n": 1}, "max_tokens": 3}

    @pytest.mark.parametrize("name", ["n", "\\u006e", "\\u006E"])
    def test_one_that_is_there_is_replaced(self, name: str) -> None:
        made = with_field(('{"model": "m", "' + name + '": null}').encode(), "n", 3)
        assert json.loads(made, object_pairs_hook=list) == [("model", "m"), ("n", 3)]

    def test_text_that_ends_in_a_brace_is_text(self) -> None:
        body = json.dumps({"messages": [{"content": "}\n\u00e9 }"}], "model": "}"}).encode()
        assert json.loads(with_field(body, "n", 3)) == json.loads(body) | {"n": 3}

    @pytest.mark.parametrize(
        ("kind", "name"), [(ChatEnvelope, "max_completion_tokens"), (CompletionEnvelope, "max_tokens")]
    )
    @pytest.mark.parametrize("said", ["", ', "%s": null', ', "user": "%s"', ', "x": {"%s": 5}'])
    @pytest.mark.parametrize("escaped", [False, True])
    def test_a_limit_of_the_answer(
        self, kind: type[ChatEnvelope | CompletionEnvelope], name: str, said: str, escaped: bool
    ) -> None:
        written = f"\\u00{ord(name[0]):02x}{name[1:]}" if escaped else name
        body = ('{"model": "m", "messages": []' + said.replace("%s", written) + " } ").encode()
        made = limit_answer(body, msgspec.json.decode(body, type=kind), 7)
        assert json.loads(made) == json.loads(body) | {name: 7}
        assert [known for known, _ in json.loads(made, object_pairs_hook=list)].count(name) == 1

    @pytest.mark.parametrize("options", ["", ', "stream_options": null', ', "stream_\\u006fptions": {}'])
    def test_usage_is_asked_for_once(self, options: str) -> None:
        body = ('{"model": "m", "messages": [], "user": "stream_options"' + options + "}").encode()
        made = ask_for_usage(body, msgspec.json.decode(body, type=ChatEnvelope).stream_options, running=False)
        assert json.loads(made) == json.loads(body) | {"stream_options": {"include_usage": True}}
        assert [known for known, _ in json.loads(made, object_pairs_hook=list)].count("stream_options") == 1
