"""A change of the encryption key reaches every table that has secrets (providers': tests/gateway/routing/)."""

from typing import Any

import pytest
from sqlalchemy import LargeBinary

from gateway.db.base import Base
from gateway.db.database import Database
from gateway.db.reseal import TABLES, reseal
from gateway.db.tables import UserRow, WebhookRow
from gateway.kit.clock import now
from gateway.kit.sealing import Place, Sealer, read_keys

pytestmark = pytest.mark.anyio

OLD, NEW = "0d" * 32, "4e" * 32
old, new, both = Sealer(read_keys(OLD)), Sealer(read_keys(NEW)), Sealer(read_keys(f"{NEW} {OLD}"))


def webhook(id: str, **fields: Any) -> WebhookRow:
    sealed = old.seal("whsec_1", Place("webhooks", id, "secret"))
    moment: dict[str, Any] = {"created_at": now(), "updated_at": now()}
    return WebhookRow(
        **({"id": id, "url": "http://x", "events": [], "secret": sealed, "secret_hint": ""} | moment | fields)
    )


class TestReseal:
    async def test_webhooks_and_peoples_authenticators(self, database: Database) -> None:
        rotated = old.seal("whsec_0", Place("webhooks", "a", "previous_secret"))
        totp = old.seal("totp", Place("users", "user-1", "totp_secret"))
        async with database.session() as session:
            session.add(webhook("a", previous_secret=rotated))
            session.add(webhook("gone", secret=b"", deleted_at=now()))
            person = {"email": "a@b.c", "name": "A", "role": "owner", "added_at": now()}
            session.add(UserRow(id="user-1", totp_secret=totp, **person))
            session.add(UserRow(id="user-2", **(person | {"email": "d@e.f"})))
        async with database.session() as session:
            done = await reseal(session, both)
        assert (done.renewed, done.current, done.broken) == (3, 0, [])
        async with database.session() as session:
            row, user = await session.get_one(WebhookRow, "a"), await session.get_one(UserRow, "user-1")
        assert new.open(row.secret, Place("webhooks", "a", "secret")) == "whsec_1"
        assert new.open(row.previous_secret or b"", Place("webhooks", "a", "previous_secret")) == "whsec_0"
        assert new.open(user.totp_secret or b"", Place("users", "user-1", "totp_secret")) == "totp"

    async def test_says_what_cannot_be_opened(self, database: Database) -> None:
        async with database.session() as session:
            session.add(webhook("a"))
        async with database.session() as session:
            done = await reseal(session, new)
        [problem] = done.broken
        assert problem.startswith("secret of the webhook `a` (a) cannot be opened")

    def test_knows_every_sealed_column(self) -> None:
        """Bytes that are no hash and no body of an exchange are sealed."""
        binary = {
            (table.name, column.name)
            for table in Base.metadata.tables.values()
            for column in table.columns
            if isinstance(column.type, LargeBinary) and "hash" not in column.name and table.name != "exchanges"
        }
        assert binary == {(each.row.__tablename__, column) for each in TABLES for column in each.columns}
