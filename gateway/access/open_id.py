"""Single sign-on with an OpenID Connect provider: the authorization code flow with PKCE.

Sources: OpenID Connect Core 1.0 (sections 3.1.2 and 3.1.3), Discovery 1.0, RFC 7636 (PKCE), RFC 9700 (best current
practice). What the provider says is believed only after the signature and the claims of its ID token were checked.
"""

import asyncio
import hmac
import logging
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import aiohttp
import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from gateway.access.flow import FLOW_SECONDS, Flow, Identity
from gateway.errors import Forbidden, InvalidRequest, Unavailable
from gateway.kit.keyed_hash import keyed_hash
from gateway.kit.sealing import CannotOpen, Place, Sealer
from gateway.settings import OidcSettings

log = logging.getLogger(__name__)

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519"]
"""Signatures with a key pair. Not `none`, and not HS256: its key would be one that strangers can read."""
KEY_TYPES = ("RSA", "EC", "OKP")
LEEWAY_SECONDS = 60
"""How far the provider's clock may be off."""
CACHED_SECONDS = 3600.0
REFRESH_SECONDS = 30.0
"""The keys are not fetched for an unknown key more often than this."""
TIMEOUT_SECONDS = 10.0
ANSWER_BYTES = 1024 * 1024
COOKIE_PLACE = Place("cookies", "tuneway_oidc", "flow")
FAILED = "sign_in_failed"


class OpenIdProvider:
    """The provider of the settings; its documents are fetched at first use and kept for an hour."""

    def __init__(self, settings: OidcSettings, secret_key: str) -> None:
        self.settings = settings
        self._sealer = Sealer([keyed_hash("flow", secret_key, "oidc cookie")])
        self._documents: dict[str, tuple[float, dict[str, Any]]] = {}
        self._one_at_a_time = asyncio.Lock()

    async def begin(self, redirect_uri: str, return_to: str) -> tuple[str, str]:
        """Where to send the browser, and the value of its cookie. Raises Unavailable."""
        provider = await self._discover()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        flow = Flow(state, nonce, verifier, return_to, time.time() + FLOW_SECONDS)
        query = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(self.settings.scopes),
            "state": flow.state,
            "nonce": flow.nonce,
            "code_challenge": _challenge(flow.verifier),
            "code_challenge_method": "S256",
        }
        endpoint = provider["authorization_endpoint"]
        url = f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"
        return url, urlsafe_b64encode(self._sealer.seal(msgspec.json.encode(flow).decode(), COOKIE_PLACE)).decode()

    def flow(self, cookie: str | None, state: str | None) -> Flow:
        """The sign-in that this browser began. Raises InvalidRequest when it began none with that state."""
        try:
            opened = self._sealer.open(urlsafe_b64decode(cookie or ""), COOKIE_PLACE)
        except (CannotOpen, NotBase64, ValueError):
            raise InvalidRequest(
                "No sign-in is under way in this browser, or it has cookies switched off. Please begin again.",
                param="state",
                code="sign_in_not_begun",
            ) from None
        flow = msgspec.json.decode(opened, type=Flow)
        if not hmac.compare_digest(flow.state.encode(), (state or "").encode()) or flow.expires_at < time.time():
            raise InvalidRequest(
                "This is not the sign-in that the browser began last, or it took too long. Please begin again.",
                param="state",
                code="sign_in_expired",
            )
        return flow

    async def identity(self, flow: Flow, code: str, redirect_uri: str) -> Identity:
        """Whom the provider vouches for.

        Raises:
            Forbidden: it refuses the code, or its ID token is not for us, not for this sign-in, or not valid.
            Unavailable: it cannot be reached, or breaks.
        """
        provider = await self._discover()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": flow.verifier,
        }
        answer = await self._ask("POST", provider["token_endpoint"], **self._credentials(provider, form))
        return self._read(await self._claims(provider, answer.get("id_token"), flow.nonce))

    async def _claims(self, provider: dict[str, Any], token: object, nonce: str) -> dict[str, Any]:
        """Those of an ID token that has been checked. Raises Forbidden, Unavailable."""
        if not isinstance(token, str):
            raise _refused("it sent no ID token")
        keys = _key_set(await self._document(provider["jwks_uri"], CACHED_SECONDS))
        try:
            return self.check(token, keys, nonce)
        except (JoseError, ValueError):  # perhaps it signs with a new key
            keys = _key_set(await self._document(provider["jwks_uri"], REFRESH_SECONDS))
        try:
            return self.check(token, keys, nonce)
        except (JoseError, ValueError) as error:
            raise _refused(f"its ID token is not valid ({error})") from None

    def check(self, token: str, keys: KeySet, nonce: str) -> dict[str, Any]:
        """The claims of an ID token (OpenID Connect Core, section 3.1.3.7). Raises JoseError, ValueError."""
        claims = jwt.decode(token, keys, algorithms=ALGORITHMS).claims
        jwt.JWTClaimsRegistry(
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": self.settings.issuer},
            aud={"essential": True, "value": self.settings.client_id},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": nonce},
        ).validate(claims)
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", None if several else self.settings.client_id) != self.settings.client_id:
            raise ValueError("it was made for another client")
        return claims

    def _read(self, claims: dict[str, Any]) -> Identity:
        email, verified, name = claims.get("email"), claims.get("email_verified"), claims.get("name")
        return Identity(
            issuer=self.settings.issuer,
            subject=str(claims["sub"]),
            email=email.strip().lower() if isinstance(email, str) else "",
            email_verified=verified is True or verified == "true",  # some send it as a text
            name=name if isinstance(name, str) else None,
        )

    def _credentials(self, provider: dict[str, Any], form: dict[str, str]) -> dict[str, Any]:
        """How we show who we are (RFC 6749, section 2.3.1)."""
        client_id, secret = self.settings.client_id, self.settings.client_secret.reveal()
        if not secret:
            return {"data": form | {"client_id": client_id}}
        if "client_secret_basic" in provider.get("token_endpoint_auth_methods_supported", ["client_secret_basic"]):
            authorization = aiohttp.encode_basic_auth(_quoted(client_id), _quoted(secret))
            return {"data": form, "headers": {"authorization": authorization}}
        return {"data": form | {"client_id": client_id, "client_secret": secret}}

    async def _discover(self) -> dict[str, Any]:
        """Raises Unavailable."""
        issuer = self.settings.issuer
        provider = await self._document(f"{issuer.rstrip('/')}/.well-known/openid-configuration", CACHED_SECONDS)
        if provider.get("issuer") != issuer:
            raise _away(f"it says that it is {provider.get('issuer')}, the settings say {issuer}")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not isinstance(provider.get(name), str):
                raise _away(f"its discovery document has no {name}")
        return provider

    async def _document(self, url: str, seconds: float) -> dict[str, Any]:
        """JSON that is not older than so many seconds. Raises Unavailable."""
        async with self._one_at_a_time:
            fetched_at, document = self._documents.get(url, (-CACHED_SECONDS, {}))
            if time.monotonic() - fetched_at > seconds or not document:
                document = await self._ask("GET", url)
                self._documents[url] = (time.monotonic(), document)
        return document

    async def _ask(self, method: str, url: str, **options: Any) -> dict[str, Any]:
        """A JSON object. Raises Unavailable; Forbidden for a 4xx."""
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS), trust_env=True) as client,
                client.request(method, url, allow_redirects=method == "GET", **options) as response,
            ):
                body = await response.content.read(ANSWER_BYTES)
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise _away(repr(error)) from error
        try:
            answer = msgspec.json.decode(body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise _away(f"{url} answered {status} without a JSON object") from None
        if 400 <= status < 500 and method == "POST":
            raise _refused(str(answer.get("error", status))[:100])
        if status != 200:
            raise _away(f"{url} answered {status}")
        return answer


def _challenge(verifier: str) -> str:
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _key_set(document: dict[str, Any]) -> KeySet:
    """The keys of a kind that we know; providers publish others beside them. Raises Unavailable without any."""
    listed = document.get("keys")
    keys = [key for key in listed if key.get("kty") in KEY_TYPES] if isinstance(listed, list) else []
    try:
        return KeySet.import_key_set({"keys": keys})
    except (JoseError, ValueError) as error:
        raise _away(f"its keys cannot be read: {error}") from None


def _quoted(text: str) -> str:
    return urlencode({"": text})[1:]


def _away(reason: str) -> Unavailable:
    log.warning("single sign-on: %s", reason)
    return Unavailable("The identity provider cannot be used right now; please try again, or sign in with a password.")


def _refused(reason: str) -> Forbidden:
    log.warning("single sign-on refused: %s", reason)
    return Forbidden(f"The identity provider did not vouch for you: {reason}. Please begin again.", code=FAILED)
