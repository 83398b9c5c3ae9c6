"""Authentication from memory."""

from typing import Any

import pytest

from gateway.db.database import Database
from gateway.db.tables import ApiKeyRow, ProjectRow, ProjectUserRow, ServiceAccountRow, UserRow
from gateway.errors import Forbidden, ModelNotFound, Unauthenticated, Unavailable
from gateway.keys import repository
from gateway.keys.ring import ApiKey, KeyRing
from gateway.keys.service import create_admin_key, create_project_key, create_user_key, ensure_admin_key, rotate
from gateway.kit.clock import from_unix, now

SECRET_KEY = "k" * 40
ADMIN = "sk-admin-of-this-test"

pytestmark = pytest.mark.anyio


async def project_key(database: Database, *, project: str = "p", expires_at: float | None = None) -> str:
    """The secret of a new key."""
    async with database.session() as session:
        if await session.get(ProjectRow, project) is None:
            session.add(ProjectRow(id=project, name="x", created_at=now(), archived_at=None))
            await session.flush()
            account = ServiceAccountRow(
                id=f"a-{project}", project_id=project, name="x", role="member", created_at=now()
            )
            session.add(account)
            await session.flush()
        account = await session.get_one(ServiceAccountRow, f"a-{project}")
        moment = from_unix(expires_at) if expires_at is not None else None
        _, secret = await create_project_key(session, account, name="n", secret_key=SECRET_KEY, expires_at=moment)
    return secret


async def loaded(database: Database) -> KeyRing:
    ring = KeyRing(SECRET_KEY)
    async with database.session() as session:
        await ensure_admin_key(session, ADMIN, secret_key=SECRET_KEY)
    async with database.raw() as connection:
        await ring.load(connection)
    return ring


def empty_ring() -> KeyRing:
    """One that was loaded and found no key."""
    ring = KeyRing(SECRET_KEY)
    ring._keys = {}
    return ring


def bearer(secret: str) -> bytes:
    return f"Bearer {secret}".encode()


class TestAuthenticate:
    async def test_a_projects_key(self, database: Database) -> None:
        secret = await project_key(database)
        key = (await loaded(database)).authenticate_project(bearer(secret))
        assert (key.project_id, key.name, key.is_admin) == ("p", "n", False)

    async def test_an_admin_key(self, database: Database) -> None:
        assert (await loaded(database)).authenticate_admin(bearer(ADMIN)).is_admin

    async def test_the_scheme_is_read_without_case_and_blanks(self, database: Database) -> None:
        ring = await loaded(database)
        for header in (b"bearer " + ADMIN.encode(), b"BEARER   " + ADMIN.encode() + b"  "):
            assert ring.authenticate(header).is_admin

    async def test_each_key_to_its_own_endpoints(self, database: Database) -> None:
        secret = await project_key(database)
        ring = await loaded(database)
        with pytest.raises(Forbidden, match="needs an admin key"):
            ring.authenticate_admin(bearer(secret))
        with pytest.raises(Forbidden, match="need a project's key"):
            ring.authenticate_project(bearer(ADMIN))

    @pytest.mark.parametrize("header", [None, b"", b"Bearer", b"Bearer ", b"Basic eDp5", ADMIN.encode()])
    async def test_no_key_says_how_to_send_one(self, header: bytes | None) -> None:
        with pytest.raises(Unauthenticated, match="Authorization: Bearer YOUR_KEY"):
            empty_ring().authenticate(header)

    async def test_an_unknown_key_is_shown_redacted(self) -> None:
        with pytest.raises(Unauthenticated, match=r"Incorrect API key provided: sk-svcacct-\.\.\.wxyz\. "):
            empty_ring().authenticate(b"Bearer sk-svcacct-secretsecretwxyz")

    async def test_before_the_first_load_nobody_is_called_wrong(self) -> None:
        with pytest.raises(Unavailable, match="cannot reach its database yet"):
            KeyRing(SECRET_KEY).authenticate(bearer(ADMIN))

    @pytest.mark.parametrize("secret", [b"\xff\x00" * 30, b"x", b"x" * 100_000], ids=["binary", "short", "long"])
    async def test_any_bytes_are_only_wrong(self, secret: bytes) -> None:
        with pytest.raises(Unauthenticated) as raised:
            empty_ring().authenticate(b"Bearer " + secret)
        assert len(str(raised.value)) < 200

    async def test_a_short_key_is_not_shown_at_all(self) -> None:
        with pytest.raises(Unauthenticated, match=r"provided: \*\*\*\."):
            empty_ring().authenticate(b"Bearer hunter2")

    async def test_another_secret_key_knows_none(self, database: Database) -> None:
        await loaded(database)
        ring = KeyRing("other" * 10)
        async with database.raw() as connection:
            await ring.load(connection)
        with pytest.raises(Unauthenticated):
            ring.authenticate(bearer(ADMIN))


class TestExpiry:
    async def test_a_key_ends_at_its_second(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        secret = await project_key(database, expires_at=2_000_000_000)
        ring = await loaded(database)
        monkeypatch.setattr("gateway.keys.ring.time.time", lambda: 1_999_999_999.9)
        assert ring.authenticate(bearer(secret))
        monkeypatch.setattr("gateway.keys.ring.time.time", lambda: 2_000_000_000.0)
        with pytest.raises(Unauthenticated, match=r"has expired: it worked until 2033-05-18 03:33:20 UTC\."):
            ring.authenticate(bearer(secret))


class TestRotated:
    async def rotated(self, database: Database, *, overlap: int) -> tuple[KeyRing, str, str]:
        """A ring, the old secret and the new one of its key."""
        old = await project_key(database)
        async with database.session() as session:
            (row,) = await session.scalars(repository.live("p"))
            new = await rotate(session, row, overlap_seconds=overlap, secret_key=SECRET_KEY)
        return await loaded(database), old, new

    async def test_both_secrets_are_one_key(self, database: Database) -> None:
        ring, old, new = await self.rotated(database, overlap=60)
        keys = [ring.authenticate(bearer(secret)) for secret in (old, new)]
        assert keys[0].id == keys[1].id
        assert keys[1].expires_at is None

    async def test_the_old_one_ends_and_says_why(self, database: Database) -> None:
        ring, old, new = await self.rotated(database, overlap=0)
        with pytest.raises(Unauthenticated, match="another took its place"):
            ring.authenticate(bearer(old))
        assert ring.authenticate(bearer(new))

    async def test_the_overlap_does_not_outlive_the_key(self, database: Database) -> None:
        old = await project_key(database, expires_at=now().timestamp() + 30)
        async with database.session() as session:
            (row,) = await session.scalars(repository.live("p"))
            new = await rotate(session, row, overlap_seconds=3600, secret_key=SECRET_KEY)
        ring = await loaded(database)
        ends = [ring.authenticate(bearer(secret)).expires_at for secret in (old, new)]
        assert ends[0] == ends[1]

    async def test_one_older_than_the_last_is_nobodys(self, database: Database) -> None:
        _, first, _ = await self.rotated(database, overlap=60)
        async with database.session() as session:
            (row,) = await session.scalars(repository.live("p"))
            await rotate(session, row, overlap_seconds=60, secret_key=SECRET_KEY)
        with pytest.raises(Unauthenticated, match="Incorrect API key"):
            (await loaded(database)).authenticate(bearer(first))


class TestPeople:
    async def ring(self, database: Database, role: str, *, member: bool = False, left: bool = False) -> KeyRing:
        """With a key of a person in the project p, and an admin key that they made."""
        await project_key(database)
        async with database.session() as session:
            session.add(user(role, deleted_at=now() if left else None))
            await session.flush()
            if member:
                session.add(ProjectUserRow(project_id="p", user_id="user-1", role="member", added_at=now()))
            _, self.secret = await create_user_key(session, "p", "user-1", name="n", secret_key=SECRET_KEY)
            _, self.admin = await create_admin_key(
                session, name="n", secret_key=SECRET_KEY, role="owner", user_id="user-1", lifetime=None
            )
        return await loaded(database)

    @pytest.mark.parametrize(
        ("role", "member", "left", "works"),
        [
            ("owner", False, False, True),
            ("reader", True, False, True),
            ("reader", False, False, False),
            ("owner", True, True, False),
        ],
    )
    async def test_key_works_while_they_belong_to_the_project(
        self, database: Database, role: str, *, member: bool, left: bool, works: bool
    ) -> None:
        ring = await self.ring(database, role, member=member, left=left)
        if works:
            assert ring.authenticate(bearer(self.secret)).user_id == "user-1"
        else:
            with pytest.raises(Unauthenticated):
                ring.authenticate(bearer(self.secret))

    @pytest.mark.parametrize("role", ["owner", "reader"])
    async def test_an_admin_key_may_no_more_than_who_made_it(self, database: Database, role: str) -> None:
        ring = await self.ring(database, role)
        assert ring.authenticate_admin(bearer(self.admin)).role == role

    async def test_keys_know_whose_they_are_and_nobodys_has_no_email(self, database: Database) -> None:
        ring = await self.ring(database, "owner")
        assert [ring.authenticate(bearer(secret)).email for secret in (self.secret, self.admin)] == ["a@b.c"] * 2
        assert ring.authenticate(bearer(ADMIN)).email is None

    async def test_an_admin_key_ends_with_who_made_it(self, database: Database) -> None:
        ring = await self.ring(database, "owner", left=True)
        with pytest.raises(Unauthenticated):
            ring.authenticate_admin(bearer(self.admin))


class TestRights:
    async def test_are_those_of_the_key_and_of_its_project(self, database: Database) -> None:
        secret = await project_key(database)
        async with database.session() as session:
            (row,) = await session.scalars(repository.live("p"))
            row.scopes, row.logging, row.tags, row.tier = ["api.files.write"], "off", ["a"], "free"
            project = await session.get_one(ProjectRow, "p")
            project.model_permissions, project.tier = {"mode": "allow_list", "model_ids": ["m"]}, "pro"
        key = (await loaded(database)).authenticate(bearer(secret))
        assert key.scopes == {"api.files.write", "api.files.read"}
        assert (key.logging, key.tags, key.tier) == ("off", ("a",), "free")
        key.require_model("m")
        with pytest.raises(ModelNotFound):
            key.require_model("other")

    async def test_a_key_without_any_may_do_all(self, database: Database) -> None:
        secret = await project_key(database)
        key = (await loaded(database)).authenticate(bearer(secret))
        assert (key.scopes, key.models, key.logging, key.tier) == (None, None, "full", None)
        key.require_model("whatever")


def user(role: str, **changes: Any) -> UserRow:
    return UserRow(id="user-1", email="a@b.c", name="Ada", role=role, added_at=now(), **changes)


class TestLoad:
    async def test_one_that_expired_long_ago_is_simply_wrong(self, database: Database) -> None:
        secret = await project_key(database, expires_at=1_600_000_000)
        with pytest.raises(Unauthenticated, match="Incorrect API key"):
            (await loaded(database)).authenticate(bearer(secret))

    async def test_leaves_out_revoked_keys_and_archived_projects(self, database: Database) -> None:
        kept, revoked, archived = [await project_key(database, project=name) for name in ("p", "q", "r")]
        async with database.session() as session:
            await repository.revoke(session, ApiKeyRow.project_id == "q")
            (await session.get_one(ProjectRow, "r")).archived_at = now()
        ring = await loaded(database)
        assert ring.authenticate(bearer(kept))
        for secret in (revoked, archived):
            with pytest.raises(Unauthenticated):
                ring.authenticate(bearer(secret))


class TestLastUsed:
    async def test_is_written_later_and_once(self, database: Database) -> None:
        secret = await project_key(database)
        ring = await loaded(database)
        key = ring.authenticate(bearer(secret))
        await ring.save_last_used(database)
        assert ring._used == {}
        async with database.session() as session:
            row = await session.get_one(ApiKeyRow, key.id)
        assert row.last_used_at is not None

    async def test_survives_a_database_that_is_away(self) -> None:
        ring = empty_ring()
        ring._used = {"key_1": 1.0}
        away = Database("postgresql+asyncpg://postgres@127.0.0.1:1/nothing", pool_size=1, timeout=5)
        with pytest.raises(Unavailable):
            await ring.save_last_used(away)
        assert ring._used == {"key_1": 1.0}
        await away.close()

    async def test_a_refused_call_is_no_use(self, database: Database) -> None:
        ring = await loaded(database)
        with pytest.raises(Unauthenticated):
            ring.authenticate(b"Bearer nothing-like-a-key")
        assert ring._used == {}


async def test_making_an_admin_key_twice_makes_one(database: Database) -> None:
    async with database.session() as session:
        assert await ensure_admin_key(session, ADMIN, secret_key=SECRET_KEY)
        await session.flush()
        assert not await ensure_admin_key(session, ADMIN, secret_key=SECRET_KEY)


async def test_the_database_never_sees_a_secret(database: Database) -> None:
    secret = await project_key(database)
    async with database.session() as session:
        rows = await repository.with_hash(session, b"") or (await session.scalars(repository.live("p"))).all()
    assert secret not in str([vars(row) for row in rows])  # type: ignore[union-attr]


def test_a_key_without_a_project_is_an_admins() -> None:
    assert ApiKey("key_1", "n", "", None).is_admin
