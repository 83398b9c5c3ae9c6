"""Asking models on a project's behalf, from a worker: through the gateway, with a key of the project for that purpose.

So a judge's call is routed, limited, charged and logged like any other; a budget on that key (gateway/working_keys.py) is the
judges' budget.
"""

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

from gateway.db.database import Database
from gateway.kit.money import nano_from_usd
from gateway.kit.sealing import NoKey, Sealer
from gateway.settings import Settings
from gateway.working_keys import Ended, Purpose, WorkingKeys

NO_FALLBACK = {"x-tuneway-fallback": "off"}
"""Whoever judges, or is measured, is the model that was named, or nobody."""
NEW_KEY_TRIES = 20
NEW_KEY_SECONDS = 0.1
"""Between two tries with a key that was made just now: gateways learn of it within a second."""
NO_ENCRYPTION_KEY = "Judges and evals need an encryption_key, to keep the key that they call the gateway with."


class NotAsked(Exception):
    """No answer was had; the message is a sentence."""

    def __init__(
        self, message: str, *, code: str, retry: bool, retry_after: float | None = None, exchange_id: str | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        """timeout, rate_limit, quota, upstream or refused (the call itself was wrong)."""
        self.retry = retry
        """Whether the same call may succeed later."""
        self.retry_after = retry_after
        """Seconds, where the gateway said so."""
        self.exchange_id = exchange_id
        """Of the call, where the gateway has answered: what was asked may be in the log."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An answer."""

    body: bytes
    """Of the chat completion."""
    exchange_id: str
    cost_nano: int | None
    """None where the model has no price."""
    duration_ms: float


class Asking:
    """Calls this installation's own gateway at `worker.gateway_url`."""

    def __init__(self, settings: Settings, database: Database, sealer: Sealer) -> None:
        self._url = settings.worker.gateway_url.rstrip("/") + "/v1/chat/completions"
        self._timeout = aiohttp.ClientTimeout(
            total=settings.worker.answer_seconds, sock_connect=settings.timeouts.connect
        )
        self._database = database
        self._keys = WorkingKeys(sealer, settings.secret_key.reveal())
        self._secrets: dict[tuple[str, Purpose], str] = {}
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session:
            await self._session.close()

    async def chat(self, project_id: str, purpose: Purpose, body: dict[str, Any]) -> Asked:
        """POST /v1/chat/completions. `body` asks for no stream.

        Raises:
            NotAsked: whatever the reason.
            Unavailable: the database cannot be reached for the key.
        """
        secret, is_new = await self._secret(project_id, purpose)
        payload = json.dumps(body, ensure_ascii=False).encode(errors="replace")
        for _ in range(NEW_KEY_TRIES if is_new else 1):
            answer = await self._post(payload, secret)
            if isinstance(answer, Asked):
                return answer
            if answer is None:
                await asyncio.sleep(NEW_KEY_SECONDS)
        self._secrets.pop((project_id, purpose), None)
        if not is_new:  # it was revoked or rotated since
            return await self.chat(project_id, purpose, body)
        raise NotAsked(str(Ended(project_id, purpose)), code="refused", retry=False)

    async def _post(self, payload: bytes, secret: str) -> Asked | None:
        """None when the key is not known (yet). Raises NotAsked."""
        headers = {"authorization": f"Bearer {secret}", "content-type": "application/json"} | NO_FALLBACK
        began = time.perf_counter()
        try:
            async with self._opened().post(self._url, data=payload, headers=headers) as response:
                body = await response.read()
        except TimeoutError:
            raise NotAsked("The gateway did not answer in time.", code="timeout", retry=True) from None
        except (aiohttp.ClientError, OSError) as error:
            raise NotAsked(
                f"The gateway at {self._url} cannot be reached: {error}", code="upstream", retry=True
            ) from None
        if response.status == 401:
            return None
        if response.status != 200:
            raise _refusal(response, body)
        cost = response.headers.get("x-tuneway-cost", "")
        return Asked(
            body=body,
            exchange_id=response.headers.get("x-request-id", ""),
            cost_nano=nano_from_usd(cost) if cost not in ("", "unpriced") else None,
            duration_ms=(time.perf_counter() - began) * 1000,
        )

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            )
        return self._session

    async def _secret(self, project_id: str, purpose: Purpose) -> tuple[str, bool]:
        """The key's secret, and whether it was not used before here. Raises NotAsked, Unavailable."""
        if known := self._secrets.get((project_id, purpose)):
            return known, False
        try:
            async with self._database.session() as session:
                secret = await self._keys.secret(session, project_id, purpose)
        except Ended as ended:
            raise NotAsked(str(ended), code="refused", retry=False) from None
        except NoKey:
            raise NotAsked(NO_ENCRYPTION_KEY, code="refused", retry=False) from None
        self._secrets[project_id, purpose] = secret
        return secret, True


def _refusal(response: aiohttp.ClientResponse, body: bytes) -> NotAsked:
    """What the gateway's error object says (contract section 0)."""
    try:
        error = msgspec.json.decode(body)["error"]
        message, kind = str(error["message"]), str(error.get("code") or "")
    except (ValueError, KeyError, TypeError):
        message, kind = f"The gateway answered {response.status}.", ""
    after = response.headers.get("retry-after", "")
    code, retry = _code(response.status, kind)
    return NotAsked(
        message,
        code=code,
        retry=retry,
        retry_after=float(after) if retry and after.replace(".", "", 1).isdigit() else None,
        exchange_id=response.headers.get("x-request-id"),
    )


def _code(status: int, kind: str) -> tuple[str, bool]:
    """Of NotAsked, and whether the same call may succeed later."""
    if status == 429:
        return ("quota", False) if kind == "insufficient_quota" else ("rate_limit", True)
    if status in (408, 409) or status >= 500:
        return "upstream", True
    return "refused", False
