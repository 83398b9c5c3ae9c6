"""[console], [sign_in] and [oidc]: what is refused, and by what name."""

import re
from pathlib import Path

import pytest

from gateway.settings import Settings, SettingsError, load

OIDC = '[console]\nurl = "https://gateway.example.com"\n[oidc]\nissuer = "https://id.example.com"\nclient_id = "us"\n'


def loaded(directory: Path, text: str) -> Settings:
    path = directory / "tuneway.toml"
    path.write_text(text)
    return load(path, {})


class TestSections:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('[console]\nurl = "gateway.example.com"', "is not like https://"),
            ('[console]\nurl = "https://example.com/console"', "is not like https://"),
            ('[console]\ntrusted_proxies = ["10.0.0.1/8"]', "trusted_proxies: "),
            ('[console]\ntrusted_proxies = ["proxy"]', "trusted_proxies: "),
            ("[sign_in]\nfailures = 0", "failures: 0 is less than 1"),
            ("[sign_in]\nidle_seconds = -1", "idle_seconds: -1 is less than 1"),
            ('[oidc]\nissuer = "https://id.example.com"\nclient_id = "us"', "console.url: single sign-on needs it"),
            (OIDC.replace('client_id = "us"\n', ""), "client_id: the provider gives it"),
            (OIDC.replace("https://id", "id"), "does not begin with https://"),
            (OIDC + 'scopes = ["email"]', "scopes: openid is missing"),
            (OIDC + 'new_people = "reader"', "allowed_domains: name the domains"),
            (OIDC + 'new_people = "admin"', "oidc.new_people"),
        ],
    )
    def test_refuse_what_cannot_work(self, tmp_path: Path, text: str, message: str) -> None:
        with pytest.raises(SettingsError, match=re.escape(message)):
            loaded(tmp_path, text)

    def test_take_what_can(self, tmp_path: Path) -> None:
        settings = loaded(tmp_path, OIDC + 'client_secret = "s3cret"\nnew_people = "reader"\nallowed_domains = ["*"]')
        assert settings.oidc.client_secret.reveal() == "s3cret"
        assert "s3cret" not in repr(settings)
        assert loaded(tmp_path, '[console]\ntrusted_proxies = ["10.0.0.0/8", "::1"]').console.trusted_proxies
