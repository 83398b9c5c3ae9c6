"""Request bodies: what is wrong with them is said with the field's name."""

from typing import Any

import msgspec
import pytest

from gateway.errors import InvalidJson, InvalidRequest, MissingParameter
from gateway.protocol.decode import convert, decode


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    size: int = 1


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    inner: Inner
    items: list[Inner] = []
    anything: msgspec.Raw = msgspec.Raw()
    choice: bool = False


DECODER = msgspec.json.Decoder(Outer)


class TestDecode:
    def test_gives_the_object(self) -> None:
        assert decode(DECODER, b'{"inner": {"name": "x"}}') == Outer(Inner("x"))

    @pytest.mark.parametrize("body", [b"", b"  \n"])
    def test_an_empty_body_is_said_to_be_empty(self, body: bytes) -> None:
        with pytest.raises(InvalidJson, match="empty"):
            decode(DECODER, body)

    @pytest.mark.parametrize(
        "body",
        [b"{", b"{]", b"nope", b'{"inner": {"name": "\xff"}}', b'{"anything":' + b"[" * 100_000, b'{"inner": NaN}'],
        ids=["cut", "brackets", "word", "not utf-8", "nested without end", "nan"],
    )
    def test_what_is_not_json_is_said_to_be_not_json(self, body: bytes) -> None:
        with pytest.raises(InvalidJson, match="could not parse the JSON body") as raised:
            decode(DECODER, body)
        assert raised.value.param is None

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            (b"{}", "inner"),
            (b'{"inner": {}}', "inner.name"),
            (b'{"inner": {"name": "x"}, "items": [{"name": "x"}, {}]}', "items[1].name"),
        ],
    )
    def test_a_missing_field_is_named_with_its_path(self, body: bytes, param: str) -> None:
        with pytest.raises(MissingParameter) as raised:
            decode(DECODER, body)
        assert (raised.value.param, str(raised.value)) == (param, f"Missing required parameter: '{param}'.")

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            (b'{"inner": 1}', "inner"),
            (b'{"inner": {"name": 1}}', "inner.name"),
            (b'{"inner": {"name": "x", "size": "1"}}', "inner.size"),
            (b'{"inner": {"name": "x"}, "choice": 1}', "choice"),
        ],
    )
    def test_a_wrong_type_is_named_with_its_path(self, body: bytes, param: str) -> None:
        with pytest.raises(InvalidRequest, match=f"Invalid '{param}': expected") as raised:
            decode(DECODER, body)
        assert raised.value.param == param

    @pytest.mark.parametrize(
        ("body", "param"),
        [(b'{"inner": {"name": "x"}, "b": 1}', "b"), (b'{"inner": {"name": "x", "c": 1}}', "inner.c")],
    )
    def test_an_unknown_field_is_named_as_openai_does(self, body: bytes, param: str) -> None:
        with pytest.raises(InvalidRequest, match=f"Unrecognized request argument supplied: {param}") as raised:
            decode(DECODER, body)
        assert raised.value.param == param

    @pytest.mark.parametrize("body", [b"[]", b"3", b"null", b'"text"'])
    def test_a_body_that_is_no_object_is_refused(self, body: bytes) -> None:
        with pytest.raises(InvalidRequest, match=r"^Invalid request: Expected `object`"):
            decode(DECODER, body)


class TestConvert:
    def test_reads_numbers_and_booleans_from_text(self) -> None:
        raw: dict[str, Any] = {"inner": {"name": "x", "size": "7"}, "choice": "true"}
        assert convert(raw, Outer) == Outer(Inner("x", 7), choice=True)

    def test_refuses_like_decode(self) -> None:
        with pytest.raises(InvalidRequest) as raised:
            convert({"inner": {"name": "x", "size": "many"}}, Outer)
        assert raised.value.param == "inner.size"
