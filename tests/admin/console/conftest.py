"""The gateway with its console, and browsers of people who have signed in to it."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from admin.console.urls import CONSOLE
from gateway.app import App
from gateway.db.database import Database
from gateway.keys.service import ensure_admin_key
from gateway.settings import Settings
from tests.admin.console.browsers import EMAIL, Browser
from tests.conftest import ADMIN_KEY, app_of
from tests.gateway.people import add


@pytest.fixture
async def app(settings: Settings, database: Database, cheap_passwords: None) -> AsyncIterator[App]:
    async with database.session() as session:
        await ensure_admin_key(session, ADMIN_KEY, secret_key=settings.secret_key.reveal())
    with app_of(settings, CONSOLE) as app:
        async with app.lifespan():
            await app.everything()
            yield app


@pytest.fixture
async def owner(app: App, admin: httpx.AsyncClient) -> AsyncIterator[Browser]:
    """Of an owner of the organisation."""
    await add(admin, EMAIL, "owner", name="Ada")
    async with Browser.of(app) as browser:
        await browser.sign_in(EMAIL)
        yield browser


@pytest.fixture
def project_id(project_key: dict[str, Any]) -> str:
    return project_key["project_id"]
