"""What is believed of an ID token: signed here with keys of our own, because a real provider sends none of the wrong ones."""

import time
from typing import Any

import pytest
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OctKey, RSAKey

from gateway.access.open_id import OpenIdProvider
from gateway.settings import OidcSettings

ISSUER = "https://id.example.com"
KEY = RSAKey.generate_key(2048, {"kid": "one"}, auto_kid=False)
OTHER = RSAKey.generate_key(2048, {"kid": "one"}, auto_kid=False)
KEYS = KeySet([KEY])
PROVIDER = OpenIdProvider(OidcSettings(issuer=ISSUER, client_id="us"), "k" * 40)


def token(key: Any = KEY, alg: str = "RS256", **claims: object) -> str:
    """Times are seconds from now."""
    now = int(time.time())
    claims |= {name: now + claims[name] for name in ("iat", "exp") if isinstance(claims.get(name), int)}  # type: ignore[operator]
    said = {"iss": ISSUER, "aud": "us", "sub": "ada", "nonce": "n", "iat": now, "exp": now + 300} | claims
    kept = {name: value for name, value in said.items() if value is not None}
    return jwt.encode({"alg": alg, "kid": "one"}, kept, key, algorithms=[alg])


def check(text: str) -> dict[str, Any]:
    return PROVIDER.check(text, KEYS, "n")


class TestAnIdToken:
    @pytest.mark.parametrize(
        "claims",
        [{}, {"aud": ["us"]}, {"aud": ["us", "them"], "azp": "us"}, {"azp": "us"}, {"iat": 30}],
    )
    def test_of_ours_is_believed(self, claims: dict[str, object]) -> None:
        assert check(token(**claims))["sub"] == "ada"

    @pytest.mark.parametrize(
        "claims",
        [
            {"iss": "https://evil.example"},
            {"iss": None},
            {"aud": "them"},
            {"aud": ["them"]},
            {"aud": None},
            {"aud": ["us", "them"]},
            {"aud": ["us", "them"], "azp": "them"},
            {"azp": "them"},
            {"sub": None},
            {"exp": -120},
            {"exp": None},
            {"iat": 600},
            {"iat": None},
            {"nonce": "other"},
            {"nonce": None},
        ],
        ids=str,
    )
    def test_with_other_claims_is_refused(self, claims: dict[str, object]) -> None:
        with pytest.raises((JoseError, ValueError)):
            check(token(**claims))

    def test_with_anothers_signature_is_refused(self) -> None:
        with pytest.raises(JoseError):
            check(token(OTHER))

    def test_that_was_changed_is_refused(self) -> None:
        head, _, tail = token().split(".")
        _, body, _ = token(sub="eve").split(".")
        with pytest.raises(JoseError):
            check(f"{head}.{body}.{tail}")

    def test_without_a_signature_is_refused(self) -> None:
        _, body, _ = token().split(".")
        with pytest.raises((JoseError, ValueError)):
            check(f"eyJhbGciOiJub25lIn0.{body}.")

    @pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
    def test_signed_with_the_public_key_as_a_password_is_refused(self) -> None:
        with pytest.raises((JoseError, ValueError)):
            check(token(OctKey.import_key(KEY.as_pem(private=False)), "HS256"))

    @pytest.mark.parametrize("text", ["", "x", "a.b.c", "é.é.é"])
    def test_that_is_none_is_refused(self, text: str) -> None:
        with pytest.raises((JoseError, ValueError)):
            check(text)
