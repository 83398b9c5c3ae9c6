"""Asking models on a project's behalf, from a worker: through the gateway, with a key of the project for that purpose.

So a judge's call is routed, limited, charged and logged like any other; a budget on the working key is the judges' budget.
The key belongs to a service account that is made at first use, and appears among the project's keys: whoever revokes it
ends what it was for.
"""

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp
import msgspec
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.database import Database
from gateway.db.tables import ApiKeyRow, WorkingKeyRow
from gateway.keys.hashing import hash_secret
from gateway.keys.service import create_project_key, rotate
from gateway.kit.clock import now
from gateway.kit.ids import new_id
from gateway.kit.money import nano_from_usd
from gateway.kit.sealing import CannotOpen, Place, Sealer
from gateway.projects import repository as projects
from gateway.settings import Settings

Purpose = Literal["judge", "eval"]
"""Also the `purpose` of the exchanges."""
ACCOUNTS: dict[Purpose, str] = {"judge": "Judges", "eval": "Evals"}
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
        self._secret_key = settings.secret_key.reveal()
        self._database = database
        self._sealer = sealer
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
        raise _revoked(purpose)

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
        """The key's secret, and whether it was not used before here."""
        if known := self._secrets.get((project_id, purpose)):
            return known, False
        async with self._database.session() as session:
            secret = await self._find_or_make(session, project_id, purpose)
        self._secrets[project_id, purpose] = secret
        return secret, True

    async def _find_or_make(self, session: AsyncSession, project_id: str, purpose: Purpose) -> str:
        """Two workers at once make one key."""
        await session.execute(
            text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": f"{project_id}:{purpose}"}
        )
        wanted = select(WorkingKeyRow).where(
            WorkingKeyRow.project_id == project_id,
            WorkingKeyRow.purpose == purpose,
            WorkingKeyRow.deleted_at.is_(None),
        )
        if row := await session.scalar(wanted):
            return await self._known(session, row)
        if not self._sealer:
            raise NotAsked(NO_ENCRYPTION_KEY, code="refused", retry=False)
        name = ACCOUNTS[purpose]
        account = await projects.create_service_account(session, project_id, name, "member")
        key, secret = await create_project_key(session, account, name=name, secret_key=self._secret_key)
        key.purpose = purpose
        row_id = new_id("workkey_")
        session.add(
            WorkingKeyRow(
                id=row_id,
                project_id=project_id,
                purpose=purpose,
                api_key_id=key.id,
                secret=self._sealer.seal(secret, _place(row_id)),
                created_at=now(),
                deleted_at=None,
            )
        )
        return secret

    async def _known(self, session: AsyncSession, row: WorkingKeyRow) -> str:
        """The secret of a key that there is; another one, where somebody rotated the key or it cannot be opened.

        The key stays the same, and with it what binds it. Raises NotAsked: it was revoked, or has expired.
        """
        key = await session.get_one(ApiKeyRow, row.api_key_id)
        if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now()):
            raise _revoked(row.purpose)
        try:
            secret = self._sealer.open(row.secret, _place(row.id))
        except CannotOpen:
            secret = ""
        if hash_secret(secret, self._secret_key.encode()) == key.hash:
            return secret
        if not self._sealer:
            raise NotAsked(NO_ENCRYPTION_KEY, code="refused", retry=False)
        secret = await rotate(session, key, overlap_seconds=0, secret_key=self._secret_key)
        row.secret = self._sealer.seal(secret, _place(row.id))
        return secret


def _revoked(purpose: str) -> NotAsked:
    return NotAsked(f"The project's key for this ({purpose}) was revoked or has expired.", code="refused", retry=False)


def _place(row_id: str) -> Place:
    return Place(WorkingKeyRow.__tablename__, row_id, "secret")


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
