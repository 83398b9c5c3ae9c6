"""The settings as people may see them: with meanings and defaults, and without a single secret."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from gateway.kit.section import Secret, Section, default_of, meanings
from gateway.protocol.organization_settings import Setting, SettingSection
from gateway.settings import (
    PREFIX,
    PriceSettings,
    RouteSettings,
    Settings,
    TierSettings,
    UpstreamSettings,
)

HIDDEN = "***"
LISTS: dict[str, type[msgspec.Struct]] = {
    "upstreams": UpstreamSettings,
    "routes": RouteSettings,
    "prices": PriceSettings,
    "tiers": TierSettings,
}
"""Of which there may be several: [[upstreams]]."""
NAMED_BY = {"prices": "model"}
"""What tells one from the other, where that is not its name."""
HIDDEN_VALUES = {("upstreams", "headers"), ("vllm", "environment"), ("telemetry", "headers")}
"""Tables whose values may be anything that opens a door; their names are shown."""
HIDDEN_TEXTS = {("files", "s3_access_key_id")}
"""No secrets by themselves, and nobody's business all the same."""
TELLING = re.compile(r"(?i)(token|key|secret|passw|credential|auth)")
"""An option of a command that probably names a secret."""
SPLIT = re.compile(r"[=:]")
WITHOUT_SCHEME = re.compile(r"(?<!\S)(?:\S*:\S*@|\S*@(?=[^\s@:/]+:[0-9]+(?![^\s/])))")
"""`user:password@`, and `token@` before a host with its port; no address for mail."""


def shown(settings: Settings) -> list[SettingSection]:
    """In the order of the example configuration (deploy/tuneway.example.toml)."""
    found = [SettingSection(name="", entry=None, listed=False, meaning="", settings=list(_scalars(settings)))]
    for field in msgspec.structs.fields(Settings):
        value = getattr(settings, field.name)
        if isinstance(value, Section):
            every = [_setting(value, each, field.name) for each in msgspec.structs.fields(type(value))]
            found.append(_section(field.name, type(value), None, every))
        elif field.name in LISTS:
            found += _entries(field.name, value) or [_section(field.name, LISTS[field.name], None, [])]
    return found


def _scalars(settings: Settings) -> Iterator[Setting]:
    for field in msgspec.structs.fields(Settings):
        if field.name not in LISTS and not isinstance(getattr(settings, field.name), Section):
            yield _setting(settings, field, "")


def _entries(name: str, values: tuple[msgspec.Struct, ...]) -> list[SettingSection]:
    return [
        _section(
            name,
            type(each),
            without_password(getattr(each, NAMED_BY.get(name, "name"))),
            [_setting(each, field, name) for field in msgspec.structs.fields(type(each))],
        )
        for each in values
    ]


def _section(name: str, kind: type[msgspec.Struct], entry: str | None, settings: list[Setting]) -> SettingSection:
    meaning = "" if kind.__doc__ is None else " ".join(kind.__doc__.split())
    return SettingSection(name=name, entry=entry, listed=name in LISTS, meaning=meaning, settings=settings)


def _setting(owner: msgspec.Struct, field: msgspec.structs.FieldInfo, section: str) -> Setting:
    value, default = getattr(owner, field.name), default_of(field)
    place = (section, field.name)
    is_secret = isinstance(value, Secret) or place in HIDDEN_TEXTS
    is_known = default is not msgspec.NODEFAULT
    return Setting(
        name=field.name,
        environment=None if section in LISTS else _variable(section, field.name),
        meaning=meanings(type(owner)).get(field.name, ""),
        value=None if is_secret else without_secrets(value, place),
        default=None if is_secret or not is_known else without_secrets(default, place),
        secret=is_secret,
        set=bool(value) if is_secret else value is not None and value not in ("", (), {}),
        changed=bool(value) if is_secret else not is_known or value != default,
    )


def _variable(section: str, name: str) -> str:
    return PREFIX + (f"{section}__{name}" if section else name).upper()


def without_secrets(value: Any, place: tuple[str, str] = ("", "")) -> Any:
    """What JSON can say of a value. Args: place: section and name of its setting."""
    plain = msgspec.to_builtins(value, enc_hook=_text)
    if place in HIDDEN_VALUES:
        return dict.fromkeys(plain, HIDDEN)
    return _walked(plain)


def _text(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    return HIDDEN if isinstance(value, Secret) else repr(value)


def _walked(value: Any) -> Any:
    if isinstance(value, str):
        return without_password(value)
    if isinstance(value, Mapping):
        return {name: _walked(each) for name, each in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return _arguments([_walked(each) for each in cast("list[Any]", value)])
    return value


def _arguments(words: list[Any]) -> list[Any]:
    """`--hf-token x`, `--hf-token=x`, `HF_TOKEN=x`, `--env=HF_TOKEN=x` and `Authorization: x` of a command, without x."""
    told = list(words)
    for place, word in enumerate(words):
        if not isinstance(word, str):
            continue
        if place and _is_for_next(words[place - 1]):
            told[place] = HIDDEN
        else:
            told[place] = _argument(word)
    return told


def _argument(word: str) -> str:
    """Without all that follows the first name which tells of a secret."""
    start = 0
    for sign in SPLIT.finditer(word):
        if TELLING.search(word, start, sign.start()):
            return word[: sign.end()] + HIDDEN
        start = sign.end()
    return word


def _is_for_next(word: Any) -> bool:
    """An option for a secret, which comes in the next word."""
    return isinstance(word, str) and word.startswith("-") and not SPLIT.search(word) and bool(TELLING.search(word))


def without_password(text: str) -> str:
    """A URL without what opens a door: user (but for PostgreSQL's), password, and the values of its query. It may lack its
    scheme: `user:password@proxy:3128`.

    A password may hold any character where a driver does not insist on its being quoted, so everything up to the last @ is
    taken for it.
    """
    scheme, is_url, rest = text.partition("://")
    if not is_url:
        return WITHOUT_SCHEME.sub(f"{HIDDEN}@", text)
    before, at, rest = rest.rpartition("@")
    if at:
        user, colon, _ = before.partition(":")
        before = f"{user}:{HIDDEN}" if colon else user
        rest = f"{before if scheme.startswith('postgresql') else HIDDEN}@{rest}"
    rest, fragment, _ = rest.partition("#")
    path, asked, query = rest.partition("?")
    names = "&".join(f"{pair.partition('=')[0]}={HIDDEN}" if "=" in pair else HIDDEN for pair in query.split("&"))
    return f"{scheme}://{path}{asked}{names if asked else ''}{f'#{HIDDEN}' if fragment else ''}"
