"""Personal data and secrets in texts: own patterns, each confirmed by a checksum or a rule where there is one.

| kind | pattern | confirmed by |
|---|---|---|
| email | local part, @, dotted domain | labels of the domain |
| phone | digits with the usual signs between them | libphonenumber: possible in the region, or valid with + |
| iban | country, two digits, up to 30 letters and digits | length of the country, ISO 7064 mod 97 |
| card | 13 to 19 digits | issuer's range, Luhn |
| ssn | three, two and four digits with - between | the ranges that are never given out |
| ip_address | IPv4, IPv6 | `ipaddress`; no version numbers, no loopback |
| api_key, jwt, private_key, password | what services give out; `password = ...` | prefix and length; header of a JWT; variety of characters |

Digits of other scripts and full-width signs are read as what they mean. Every pattern is linear in the text.
"""

import base64
import binascii
import ipaddress
import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import phonenumbers

from judges.personal_kinds import KINDS, Kind

REGION = "US"
"""Of phone numbers without a country code."""


@dataclass(frozen=True, slots=True)
class Found:
    """A piece of a text."""

    kind: Kind
    start: int
    end: int
    """Exclusive."""
    text: str
    """As it stands there."""
    value: str
    """Without the signs that people put in between: the same number is the same value however it is written."""


def find(text: str, kinds: Iterable[Kind] = KINDS, *, region: str = REGION) -> list[Found]:
    """Everything of these kinds, in order, nothing twice: what overlaps counts as the kind that is surer.

    Args:
        region: ISO 3166 code of the country whose phone numbers may stand without a country code.
    """
    plain, wanted = folded(text), set(kinds)
    found: list[Found] = []
    taken = bytearray(len(text))
    for kind, search in _searches(region):
        for start, end, value in search(plain):
            if taken.find(1, start, end) < 0:
                taken[start:end] = b"\1" * (end - start)
                if kind in wanted:
                    found.append(Found(kind, start, end, text[start:end], value))
    return sorted(found, key=lambda each: each.start)


def folded(text: str) -> str:
    """The same text, character by character, with digits, letters and signs of any width or script as ASCII has them."""
    if text.isascii():
        return text
    return "".join(character if character.isascii() else _folded(character) for character in text)


def _folded(character: str) -> str:
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    if character in "\u2010\u2011\u2012\u2013\u2014\u2212":
        return "-"
    if character.isspace():
        return " "
    plain = unicodedata.normalize("NFKC", character)
    return plain if len(plain) == 1 else character


_Search = Callable[[str], Iterator[tuple[int, int, str]]]


def _searches(region: str) -> list[tuple[Kind, _Search]]:
    """The surest first."""
    return [
        ("private_key", _private_keys),
        ("jwt", _jwts),
        ("api_key", _api_keys),
        ("password", _passwords),
        ("email", _emails),
        ("iban", _ibans),
        ("card", _cards),
        ("ip_address", _addresses),
        ("ssn", _social_security_numbers),
        ("phone", lambda text: _phones(text, region)),
    ]


_private_key = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_key_end = re.compile(r"-----END [A-Z0-9 ]{1,60}-----")


def _private_keys(text: str) -> Iterator[tuple[int, int, str]]:
    """A key that is cut off is one, too: until the end of the text."""
    stop = 0
    while begin := _private_key.search(text, stop):
        end = _key_end.search(text, begin.end())
        stop = end.end() if end else len(text)
        yield begin.start(), stop, text[begin.start() : stop]


_jwt = re.compile(r"(?<![\w.-])eyJ[\w-]{8,4096}\.[\w-]{2,65536}\.[\w-]{0,4096}", re.ASCII)


def _jwts(text: str) -> Iterator[tuple[int, int, str]]:
    for match in _jwt.finditer(text):
        if _is_jwt_header(match[0].split(".")[0]):
            yield match.start(), match.end(), match[0]


def _is_jwt_header(part: str) -> bool:
    try:
        header = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return False
    return isinstance(header, dict) and ("alg" in header or "typ" in header)


_api_key = re.compile(
    r"(?<![A-Za-z0-9_])(?:"
    r"sk-(?:[a-z]{2,12}-){0,3}[A-Za-z0-9_-]{20,250}"
    r"|(?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{16,100}"
    r"|gh[pousr]_[A-Za-z0-9]{30,250}|github_pat_[A-Za-z0-9_]{30,250}|glpat-[A-Za-z0-9_-]{20,60}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}"
    r"|AIza[A-Za-z0-9_-]{35}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,250}"
    r"|hf_[A-Za-z0-9]{30,60}|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,250}"
    r"|SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}"
    r"|whsec_[A-Za-z0-9+/=]{20,100}"
    r")(?![A-Za-z0-9])"
)


def _api_keys(text: str) -> Iterator[tuple[int, int, str]]:
    for match in _api_key.finditer(text):
        if _bits(match[0]) > 2.5:  # `sk-xxxxxxxxxxxxxxxxxxxxxxxx` stands for a key and is none
            yield match.start(), match.end(), match[0]


_password = re.compile(
    r"(?ai)(?<![a-z])(?:password|passwd|pwd|passphrase|secret|api[_ -]?key|access[_ -]?token|auth[_ -]?token"
    r"|client[_ -]?secret)[\"']?\s{0,3}(?::=|=>|[:=])\s{0,3}(?P<quote>[\"']?)(?P<value>[^\s\"'<>{}()\[\],;]{6,200})"
)


def _passwords(text: str) -> Iterator[tuple[int, int, str]]:
    """What is said to be one and looks like one: letters with digits or signs among them."""
    for match in _password.finditer(text):
        value = match["value"].rstrip(".!?")
        kinds = sum(bool(re.search(kind, value)) for kind in (r"[a-z]", r"[A-Z]", r"\d", r"[^A-Za-z0-9]"))
        if len(value) >= 6 and kinds >= 2 and _bits(value) > 2 and not value.startswith(("$", "%", "*", "http")):
            yield match.start("value"), match.start("value") + len(value), value


def _bits(text: str) -> float:
    """Of a character, by how often each occurs."""
    counts = Counter(text).values()
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts)


_LETTERS = r"A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u0300-\u03ff\u0400-\u052f\u1e00-\u1fff"
"""Of addresses (RFC 6531, RFC 5890): scripts that put spaces between words, accents by themselves among them. In others nothing
tells where an address begins."""
_DIGITS = _LETTERS + "0-9"
_email = re.compile(
    rf"(?<![{_DIGITS}._%+-])[{_DIGITS}_%+](?:[{_DIGITS}._%+'-]{{0,62}}[{_DIGITS}_%+-])?"
    rf"@(?:[{_DIGITS}](?:[{_DIGITS}-]{{0,61}}[{_DIGITS}])?\.){{1,8}}(?:xn--[A-Za-z0-9-]{{2,59}}|[{_LETTERS}]{{2,24}})(?![{_DIGITS}-])"
)


def _emails(text: str) -> Iterator[tuple[int, int, str]]:
    for match in _email.finditer(text):
        if ".." not in match[0]:
            yield match.start(), match.end(), match[0].lower()


IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28,
    "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
    "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22,
    "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20,
    "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18,
    "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SD": 18,
    "SE": 24, "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22,
    "VG": 24, "XK": 20,
}  # fmt: skip
"""SWIFT's IBAN registry."""
_letter_or_digit = re.compile("[A-Za-z0-9]")
_iban = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,30}", re.ASCII)


def _ibans(text: str) -> Iterator[tuple[int, int, str]]:
    """The pattern may run into the next word: the country says where the number ends."""
    for match in _iban.finditer(text):
        length = IBAN_LENGTHS.get(match[0][:2].upper(), 0)
        compact = "".join(character for character in match[0] if character.isalnum()).upper()
        if not length or len(compact) < length or not _mod_97(compact[:length]):
            continue
        end = _end_after(match[0], length)
        if not _letter_or_digit.match(text, match.start() + end):
            yield match.start(), match.start() + end, compact[:length]


def _mod_97(iban: str) -> bool:
    """ISO 7064: the first four characters at the end, letters as 10 to 35."""
    return int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4])) % 97 == 1


def _end_after(text: str, count: int) -> int:
    """Where the first `count` letters and digits of a text end."""
    for place, character in enumerate(text):
        count -= character.isalnum()
        if not count:
            return place + 1
    return len(text)


_card = re.compile(r"(?<![\w.+-])[2-6](?:[ -]?\d){12,18}(?![\w-]|\.\d)", re.ASCII)


def _cards(text: str) -> Iterator[tuple[int, int, str]]:
    for match in _card.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        if len(set(digits)) > 1 and luhn(digits):
            yield match.start(), match.end(), digits


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1: every second digit from the right doubled, nines cast out, the sum a multiple of ten."""
    doubled = [sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2]]
    return (sum(doubled) + sum(int(digit) for digit in digits[::-2])) % 10 == 0


_ssn = re.compile(r"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])", re.ASCII)


def _social_security_numbers(text: str) -> Iterator[tuple[int, int, str]]:
    for match in _ssn.finditer(text):
        yield match.start(), match.end(), match[0].replace("-", "")


_ipv4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d)", re.ASCII)
_ipv6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])", re.ASCII)
_version = re.compile(r"(?i)(?:\bv|version|release|build|ver\.?)\s?$")


def _addresses(text: str) -> Iterator[tuple[int, int, str]]:
    for match in (*_ipv4.finditer(text), *_ipv6.finditer(text)):
        try:
            address = ipaddress.ip_address(match[0])
        except ValueError:
            continue
        if address.is_loopback or address.is_unspecified:
            continue
        if not _version.search(text[max(0, match.start() - 12) : match.start()]):
            yield match.start(), match.end(), address.compressed


_phone = re.compile(r"(?<![\w.,+/-])(?<!\d[:=#])(?:\+|00)?\(?\d(?:[ ()./-]{0,2}\d){6,16}(?!\w|[.,-]\d)", re.ASCII)
_date = re.compile(r"(?:\d{4}[-./]\d{1,2}[-./]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./]\d{4})(?:\D.*)?")


def _phones(text: str, region: str) -> Iterator[tuple[int, int, str]]:
    """With a country code a valid number; without one it needs the signs that people write a number with."""
    for match in _phone.finditer(text):
        start, said = match.start(), match[0]
        if said.startswith("(") and ")" not in said:
            start, said = start + 1, said[1:]
        international = said.startswith(("+", "00"))
        if _date.fullmatch(said) or not (international or re.search(r"\d[ ().-]", said)):
            continue
        try:
            number = phonenumbers.parse("+" + said[2:] if said.startswith("00") else said, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            yield start, match.end(), phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
