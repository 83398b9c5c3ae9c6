"""Settings as people may see them: all of them, and not one secret."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from gateway.kit.section import Secret, Section
from gateway.protocol.organization_settings import Setting, SettingSection
from gateway.protocol.routes import Target
from gateway.settings import (
    EngineSettings,
    LimitSettings,
    PriceSettings,
    RouteSettings,
    Settings,
    TierSettings,
    UpstreamSettings,
)
from gateway.shown_settings import HIDDEN_VALUES, shown, without_password, without_secrets

MARK = "zebra"
URL = f"https://{MARK}:{MARK}@host/path?password={MARK}#{MARK}"


def full() -> Settings:
    """With one of everything that there may be several of; each section is a copy, which a test may spoil."""
    settings = Settings(
        upstreams=(UpstreamSettings(name="u", base_url="http://h/v1", models=("m",)),),
        routes=(RouteSettings(name="r", targets=(Target(model="m"),)),),
        prices=(PriceSettings(model="m", input=1.0, output=2.0),),
        tiers=(TierSettings(name="t", models={"m": LimitSettings(requests_per_minute=3)}),),
    )
    sections = {field.name: getattr(settings, field.name) for field in msgspec.structs.fields(Settings)}
    copies = {name: msgspec.structs.replace(each) for name, each in sections.items() if isinstance(each, Section)}
    return msgspec.structs.replace(settings, **copies)


def owners(settings: Settings) -> Iterator[tuple[str, msgspec.Struct]]:
    """Every struct with settings, by the name of its section."""
    yield "", settings
    for field in msgspec.structs.fields(Settings):
        value = getattr(settings, field.name)
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, Section | RouteSettings):
                yield field.name, each


def marked() -> tuple[Settings, list[str]]:
    """A secret wherever one can be, and where that is."""
    settings, places = full(), list[str]()
    for section, owner in owners(settings):
        for field in msgspec.structs.fields(type(owner)):
            value = secret_of(field.type, (section, field.name) in HIDDEN_VALUES)
            if value is not None:
                default = getattr(owner, field.name)
                msgspec.structs.force_setattr(owner, field.name, value)
                assert getattr(owner, field.name) != default
                places.append(f"{section}.{field.name}")
    return settings, places


def secret_of(kind: Any, opens_doors: bool) -> Any:
    """A value of that type with the secret in it; None where there is none."""
    if opens_doors:
        return {"name": MARK}
    if kind is Secret:
        return Secret(MARK)
    if kind is Path:
        return None
    if kind is str or str in get_args(kind):
        if kind == dict[str, str]:
            return {"name": URL}
        return (URL, "--some-token", MARK, f"API_KEY={MARK}") if kind == tuple[str, ...] else URL
    return None


def flat(sections: list[SettingSection]) -> dict[str, Setting]:
    return {f"{each.name}.{setting.name}": setting for each in sections for setting in each.settings}


class TestShown:
    def test_tells_no_secret_and_no_password_of_a_url(self) -> None:
        """Of every setting that can hold one, whatever is added later."""
        settings, places = marked()
        assert len(places) > 45
        assert {"database.url", "redis.url", "engine.replicas", "oidc.client_secret", "upstreams.headers"} <= {*places}
        told = shown(settings)
        wrong = [name for name, each in flat(told).items() if MARK in msgspec.json.encode(each).decode()]
        assert wrong == []
        assert MARK not in msgspec.json.encode(told).decode()

    def test_tells_whether_a_secret_is_set(self) -> None:
        before, after = flat(shown(full())), flat(shown(marked()[0]))
        secrets = [name for name, each in before.items() if each.secret]
        assert len(secrets) >= 8
        for name in secrets:
            assert (before[name].value, before[name].default) == (None, None), name
            assert (before[name].set, after[name].set) == (False, True), name

    def test_has_every_setting_with_its_meaning_and_its_variable(self) -> None:
        found = flat(shown(full()))
        for section, owner in owners(full()):
            for field in msgspec.structs.fields(type(owner)):
                if section or not isinstance(getattr(owner, field.name), Section | tuple):
                    each = found[f"{section}.{field.name}"]
                    assert each.meaning or section in ("upstreams", "routes", "prices", "tiers"), field.name
        assert found["database.pool_size"].environment == "TUNEWAY_DATABASE__POOL_SIZE"
        assert found[".data_dir"].environment == "TUNEWAY_DATA_DIR"
        assert found["upstreams.base_url"].environment is None

    def test_tells_what_is_changed(self) -> None:
        found = flat(shown(Settings(engine=EngineSettings(url="http://h/v1", max_adapters=8))))
        assert [name for name, each in found.items() if each.changed] == ["engine.url", "engine.max_adapters"]
        assert (found["engine.max_adapters"].value, found["engine.max_adapters"].default) == (8, 0)
        assert (found["engine.url"].set, found["vllm.dtype"].set) == (True, False)

    def test_of_what_there_may_be_several_each_has_its_name(self) -> None:
        names = {each.name: each.entry for each in shown(full()) if each.listed}
        assert names == {"upstreams": "u", "routes": "r", "prices": "m", "tiers": "t"}
        empty = [each for each in shown(Settings()) if each.listed]
        assert [(each.name, each.entry, each.settings) for each in empty][:1] == [("upstreams", None, [])]
        assert len(empty) == 4


class TestWithoutPassword:
    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("postgresql+asyncpg://me:p@ss/w?rd@db:5432/tuneway", "postgresql+asyncpg://me:***@db:5432/tuneway"),
            ("postgresql+asyncpg://me@db/tuneway", "postgresql+asyncpg://me@db/tuneway"),
            ("postgresql://db/x?user=a&password=b", "postgresql://db/x?user=***&password=***"),
            ("redis://:pw@host:6379/0", "redis://***@host:6379/0"),
            ("https://token@host/v1", "https://***@host/v1"),
            ("https://host/v1?key", "https://host/v1?***"),
            ("unix:///run/redis.sock", "unix:///run/redis.sock"),
            ("s3://bucket/prefix", "s3://bucket/prefix"),
            ("a@b.c", "a@b.c"),
            ("user:p@ss@proxy:3128", "***@proxy:3128"),
            ("user:pw@proxy", "***@proxy"),
            ("token@proxy:3128", "***@proxy:3128"),
            ("proxy:3128", "proxy:3128"),
            ("Answer politely: else write to a@b.c", "Answer politely: else write to a@b.c"),
            ("claude@20250101", "claude@20250101"),
        ],
    )
    def test_keeps_what_opens_no_door(self, text: str, told: str) -> None:
        assert without_password(text) == told


class TestCommands:
    def test_lose_what_follows_an_option_for_secrets(self) -> None:
        command = (
            "docker",
            "-e",
            "HF_TOKEN=x",
            "--api-key",
            "x",
            "--secret=x",
            "-H",
            "Authorization: x",
            "--rank",
            "8",
        )
        told = ["docker", "-e", "HF_TOKEN=***", "--api-key", "***", "--secret=***", "-H", "Authorization:***", "--rank"]
        assert without_secrets(command) == [*told, "8"]

    @pytest.mark.parametrize(
        ("word", "told"),
        [
            ("--env=HF_TOKEN=hf_x", "--env=HF_TOKEN=***"),
            ("--header=Authorization: Bearer z", "--header=Authorization:***"),
            ("--env=A=1:SECRET=x=y", "--env=A=1:SECRET=***"),
            ("--env=HOME=/root", "--env=HOME=/root"),
            ("--proxy=user:pw@proxy:3128", "***@proxy:3128"),
            ("--url=http://host:80/v1", "--url=http://host:80/v1"),
        ],
    )
    def test_lose_what_an_option_carries_in_its_value(self, word: str, told: str) -> None:
        assert without_secrets(("docker", word, "--rank")) == ["docker", told, "--rank"]
