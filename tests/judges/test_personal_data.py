"""Personal data and secrets in texts: what is found, what is left alone, and how long a hostile text takes."""

import base64
import json

import pytest

from judges.personal_data import KINDS, Found, find, folded, luhn
from tests.judges.ending import at_most


def jwt(header: dict[str, str]) -> str:
    parts = [json.dumps(header).encode(), b'{"sub": "1234567890", "name": "Ann"}', b"signature-of-it"]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def found(text: str, **options: object) -> list[tuple[str, str]]:
    return [(each.kind, each.text) for each in find(text, **options)]  # type: ignore[arg-type]


PLANTED = [
    ("email", "ann.lee+news@mail.example.co.uk"),
    ("email", "o'brien_7@example.org"),
    ("email", "ann@müller.de"),
    ("email", "josé@example.com"),
    ("email", "jürgen.müller@example.de"),
    ("email", "jose\u0301@example.com"),
    ("email", "иван@пример.рф"),
    ("email", "ann@example.xn--p1ai"),
    ("phone", "+49 30 901820"),
    ("phone", "+44 (20) 7946 0958"),
    ("phone", "(212) 555-2368"),
    ("phone", "212-555-2368"),
    ("phone", "0049 30 901820"),
    ("phone", "+1.212.555.2368"),
    ("iban", "DE89370400440532013000"),
    ("iban", "GB82 WEST 1234 5698 7654 32"),
    ("iban", "nl91abna0417164300"),
    ("iban", "FR14-2004-1010-0505-0001-3M02-606"),
    ("card", "4111 1111 1111 1111"),
    ("card", "5500-0000-0000-0004"),
    ("card", "378282246310005"),
    ("ssn", "078-05-1120"),
    ("ip_address", "203.0.113.7"),
    ("ip_address", "2001:db8::8a2e:370:7334"),
    ("api_key", "sk-proj-Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4z"),
    ("api_key", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"),
    ("api_key", "AKIAIOSFODNN7EXAMPLE"),
    ("api_key", "xoxb-123456789012-abcdefGHIJKL"),
    ("api_key", "hf_AbCdEfGhIjKlMnOpQrStUvWxYz012345"),
    ("jwt", jwt({"alg": "HS256", "typ": "JWT"})),
    ("private_key", "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nAAAA\n-----END RSA PRIVATE KEY-----"),
]

DECOYS = [
    "Version 10.2.14.3 is out, v1.2.3.4 was before",
    "It listens on 127.0.0.1 and on ::1",
    "The order 1234 5678 9012 3456 ships on Monday",
    "4111 1111 1111 1112 is one digit off",
    "DE89370400440532013001 is one digit off, too",
    "It was on 2024-11-21, at 10:30:00, from 12.05.1999 to 21/11/2026",
    "About 1,234,567.89 or 1234567 of them",
    "666-12-3456, 000-12-3456, 123-00-4567 and 900-12-3456 were never given out",
    "@mention and user@localhost and a@b",
    "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx stands for a key",
    "eyJub3QiOiJhIGhlYWRlciJ9.is.not a token",
    "The password: please choose a long one",
    "password: hunter",
    "uuid 123e4567-e89b-12d3-a456-426614174000",
    "pi is 3.14159265358979323846",
    "ISBN 978-3-16-148410-0",
    "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "The secret: it rains, and the api key: see the docs",
    "Time 12:30:45 and ratio 3:2:1",
    "At 12:00 1234567 of them, and 10:00 4930901820 of those",
    "It was:2024-11-21 or date=12.05.1999",
    "http://host:8080/v1/files/4155552671",
]


class TestFind:
    @pytest.mark.parametrize(("kind", "text"), PLANTED)
    @pytest.mark.parametrize("around", ["{}", "Write to {} today.", "({})", "x: {}, y", '{{"a": "{}"}}', "好{}好"])
    def test_finds_what_was_planted_and_nothing_else(self, kind: str, text: str, around: str) -> None:
        assert found(around.format(text)) == [(kind, text)]

    @pytest.mark.parametrize("text", DECOYS)
    def test_leaves_alone_what_only_looks_like_it(self, text: str) -> None:
        assert found(text) == []

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("password: Tr0ub4dor&3", "Tr0ub4dor&3"),
            ('{"client_secret": "a8Kd02-Lq91z"}', "a8Kd02-Lq91z"),
            ("API_KEY=Zx81kQ92mmP0", "Zx81kQ92mmP0"),
        ],
    )
    def test_a_secret_is_told_by_its_name(self, text: str, value: str) -> None:
        assert found(text) == [("password", value)]

    def test_a_private_key_that_is_cut_off_lasts_until_the_end(self) -> None:
        cut = "-----BEGIN PRIVATE KEY-----\nMIIEowCutOff"
        assert found(f"It is {cut}") == [("private_key", cut)]

    def test_digits_of_other_scripts_and_widths_are_digits(self) -> None:
        wide = "4111 1111 1111 1111".translate({ord(str(digit)): chr(0xFF10 + digit) for digit in range(10)})
        assert found(f"\u5361\u53f7 {wide}") == [("card", wide)]
        arabic = "078-05-1120".translate({ord(str(digit)): chr(0x0660 + digit) for digit in range(10)})
        assert find(arabic)[0].kind == "ssn"
        assert folded("\u0664\u2013\uff15") == "4-5"

    def test_the_same_number_has_one_value_however_it_is_written(self) -> None:
        values = {each.value for each in find("4111 1111 1111 1111, 4111-1111-1111-1111 and 4111111111111111")}
        assert values == {"4111111111111111"}
        phones = {each.value for each in find("+1 212 555 2368 or (212) 555-2368 or 001 212-555-2368")}
        assert phones == {"+12125552368"}

    @pytest.mark.parametrize(
        ("text", "number"),
        [
            ("Call:+14155552671", "+14155552671"),
            ("phone:415-555-2671", "415-555-2671"),
            ("tel:+14155552671", "+14155552671"),
            ("?to=+14155552671&n=3", "+14155552671"),
            ("phone=(415) 555-2671", "(415) 555-2671"),
            ("#415-555-2671", "415-555-2671"),
        ],
    )
    def test_a_number_right_behind_what_it_is_of(self, text: str, number: str) -> None:
        assert found(text) == [("phone", number)]

    def test_places_are_those_of_the_text(self) -> None:
        text = "Ärger mit ann@example.com und 203.0.113.7"
        assert find(text) == [
            Found("email", 10, 25, "ann@example.com", "ann@example.com"),
            Found("ip_address", 30, 41, "203.0.113.7", "203.0.113.7"),
        ]

    def test_only_the_kinds_that_are_wanted(self) -> None:
        assert found("ann@example.com 203.0.113.7", kinds=("ip_address",)) == [("ip_address", "203.0.113.7")]

    def test_what_overlaps_counts_once(self) -> None:
        assert found("password=sk-proj-Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4z") == [
            ("api_key", "sk-proj-Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4z")
        ]

    def test_a_region_has_its_own_phone_numbers(self) -> None:
        assert found("030 901820", region="DE") == [("phone", "030 901820")]
        assert found("030 901820") == []


class TestHostileTexts:
    @pytest.mark.parametrize(
        "piece",
        [
            "a" * 64,
            "a.",
            "a@",
            "é",
            "é.",
            "é@",
            "é@é.",
            "e\u0301'",
            ":1-",
            "=+1 (",
            "a@xn--",
            "1 ",
            "1-",
            "+1 (",
            ":",
            "DE89 ",
            "eyJ",
            "eyJaaaaaaaa.",
            "sk-a-",
            "password=",
            "-----BEGIN PRIVATE KEY-----",
            "-----BEGIN ",
            "1.1.1.1.",
            "\uff14",
        ],
    )
    def test_end_soon(self, piece: str) -> None:
        with at_most(60):
            find(piece * (1_000_000 // len(piece)))


class TestLuhn:
    def test_known_numbers(self) -> None:
        assert luhn("79927398713")
        assert not any(luhn(f"7992739871{digit}") for digit in "012456789")


class TestKinds:
    def test_every_kind_is_planted_somewhere(self) -> None:
        assert {kind for kind, _ in PLANTED} | {"password"} == set(KINDS)
