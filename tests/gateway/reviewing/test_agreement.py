"""How far people agree."""

from typing import Any

import httpx
import pytest

from gateway.app import App
from gateway.db.database import Database
from tests.conftest import client_of
from tests.gateway.reviewing.answers import QUEUES, add_answers, decided, make, taken

pytestmark = pytest.mark.anyio


async def test_counts_pairs_of_people_by_item_and_criterion(
    app: App, admin: httpx.AsyncClient, client: httpx.AsyncClient, database: Database, project_key: dict[str, Any]
) -> None:
    """Three people: of one item all agree, of another two of three do (a third of the pairs); one of a single person is none."""
    await add_answers(database, project_key["project_id"], 3)
    queue = await make(client, overlap=3, criteria=["thumbs", "clear"])
    url = f"/v1/organization/projects/{project_key['project_id']}/service_accounts"
    keys = [(await admin.post(url, json={"name": f"r{n}"})).json()["api_key"]["value"] for n in range(3)]
    thumbs = [[True, True, False], [True, False], [True, False]]
    for key, said in zip(keys, thumbs, strict=True):
        async with client_of(app, key) as person:
            for number, up in enumerate(said):
                await decided(person, queue, await taken(person, queue), values={"thumbs": up, "clear": number + 1})
    found = (await client.get(f"{QUEUES}/{queue['id']}")).json()["agreement"]
    rates = {each["criterion"]: (each["items"], pytest.approx(each["rate"])) for each in found}
    assert rates == {"thumbs": (2, (1 + 1 / 3) / 2), "clear": (2, 1.0)}
