"""Which numbers hold for whom (docs/limits.md, "Which limits hold")."""

from typing import Any

import pytest

from gateway.db.database import Database
from gateway.db.tables import ApiKeyRow, ProjectRow, ServiceAccountRow
from gateway.kit.clock import now
from gateway.limits import repository
from gateway.limits.book import LimitBook
from gateway.protocol.rate_limits import UNLIMITED
from gateway.settings import LimitSettings, RateLimitSettings, Settings, TierSettings

pytestmark = pytest.mark.anyio

TIERS = (
    TierSettings(name="free", requests_per_minute=100, models={"m": LimitSettings(requests_per_minute=10)}),
    TierSettings(name="pro", requests_per_minute=1000, tokens_per_minute=5000),
)
Found = set[tuple[str, str, int, str | None]]


class Organization:
    """One project with one key."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.default = "free"

    async def begin(self, tier: str | None = None) -> None:
        async with self.database.session() as session:
            session.add(ProjectRow(id="proj", name="p", created_at=now(), archived_at=None, tier=tier))
            await session.flush()
            account = ServiceAccountRow(id="svc", project_id="proj", name="a", role="member", created_at=now())
            session.add(account)
            await session.flush()
            key = ApiKeyRow(
                id="key", name="k", hash=b"x", redacted_value="sk", project_id="proj", service_account_id="svc",
                created_at=now(),
            )  # fmt: skip
            session.add(key)

    async def set(self, *, key: str | None = None, model: str | None = None, **amounts: int) -> None:
        async with self.database.session() as session:
            row = await repository.ensure(session, "proj", key, model)
            for field, amount in amounts.items():
                setattr(row, field, amount)

    async def found(self, key_tier: str | None = None) -> Found:
        """(whose, field, amount, model) of every limit on a call of the model m."""
        book = LimitBook(Settings(tiers=TIERS, limits=RateLimitSettings(default_tier=self.default)))
        async with self.database.raw() as connection:
            await book.load(connection)
        return {
            ("key" if limit.api_key_id else "project", limit.kind.field, limit.amount, limit.model)
            for limit in book.limits("proj", "key", key_tier, "m")
        }


@pytest.fixture
def organization(database: Database) -> Organization:
    return Organization(database)


RPM, TPM = "requests_per_minute", "tokens_per_minute"


class TestLimits:
    async def test_none_without_tiers_and_rows(self, organization: Organization) -> None:
        await organization.begin()
        organization.default = ""
        assert await organization.found() == set()

    async def test_the_default_tier_is_shared(self, organization: Organization) -> None:
        await organization.begin()
        assert await organization.found() == {("project", RPM, 100, None), ("project", RPM, 10, "m")}

    async def test_the_projects_tier_takes_its_place(self, organization: Organization) -> None:
        await organization.begin("pro")
        assert await organization.found() == {("project", RPM, 1000, None), ("project", TPM, 5000, None)}

    async def test_a_keys_tier_is_its_alone_and_leaves_the_rest_to_the_projects(
        self, organization: Organization
    ) -> None:
        await organization.begin("pro")
        assert await organization.found("free") == {
            ("key", RPM, 100, None),
            ("key", RPM, 10, "m"),
            ("project", TPM, 5000, None),
        }

    async def test_what_is_set_for_the_project_holds_beside_a_keys_tier(self, organization: Organization) -> None:
        await organization.begin()
        await organization.set(requests_per_minute=300)
        assert await organization.found("pro") == {
            ("key", RPM, 1000, None),
            ("key", TPM, 5000, None),
            ("project", RPM, 300, None),
            ("project", RPM, 10, "m"),
        }

    async def test_what_is_set_for_a_key_takes_it_out_of_the_projects_tier(self, organization: Organization) -> None:
        await organization.begin()
        await organization.set(key="key", requests_per_minute=500)
        await organization.set(key="key", model="m", requests_per_minute=50)
        assert await organization.found() == {("key", RPM, 500, None), ("key", RPM, 50, "m")}

    async def test_and_holds_beside_what_is_set_for_the_project(self, organization: Organization) -> None:
        await organization.begin()
        await organization.set(requests_per_minute=300)
        await organization.set(key="key", requests_per_minute=500)
        found = await organization.found()
        assert {("key", RPM, 500, None), ("project", RPM, 300, None)} <= found

    async def test_field_by_field(self, organization: Organization) -> None:
        await organization.begin("pro")
        await organization.set(tokens_per_minute=700)
        await organization.set(key="key", tokens_per_day=9)
        assert await organization.found() == {
            ("project", RPM, 1000, None),
            ("project", TPM, 700, None),
            ("key", "tokens_per_day", 9, None),
        }

    @pytest.mark.parametrize("own", [True, False])
    async def test_no_limit_can_be_set_against_a_tier(self, own: bool, organization: Organization) -> None:
        await organization.begin()
        for model in (None, "m"):
            await organization.set(key="key" if own else None, model=model, requests_per_minute=UNLIMITED)
        assert await organization.found() == set()

    @pytest.mark.parametrize("tiers", [{"tier": "gone"}, {"key": "gone"}])
    async def test_a_tier_that_is_gone_is_the_default_one(
        self, tiers: dict[str, Any], organization: Organization, caplog: pytest.LogCaptureFixture
    ) -> None:
        await organization.begin(tiers.get("tier"))
        found = await organization.found(tiers.get("key"))
        assert {(field, amount, model) for _, field, amount, model in found} == {(RPM, 100, None), (RPM, 10, "m")}
        assert ("gone" in caplog.text) == ("tier" in tiers)


class TestRows:
    async def test_there_is_one_of_a_place(self, organization: Organization, database: Database) -> None:
        await organization.begin()
        await organization.set(requests_per_minute=5)
        await organization.set(tokens_per_minute=6)
        async with database.session() as session:
            found = await repository.find(session, "proj", None, None)
        assert found is not None
        assert (found.requests_per_minute, found.tokens_per_minute) == (5, 6)
