"""Answers in the log that people can review."""

import json
from typing import Any

import httpx
from sqlalchemy import null

from gateway.db.database import Database
from tests.gateway.routes.test_exchanges import add

QUEUES = "/v1/review_queues"


def row(project_id: str, question: str, *said: str, **more: Any) -> dict[str, Any]:
    """An exchange with a choice for each text."""
    choices = [
        {"index": n, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        for n, text in enumerate(said)
    ]
    asked = [{"role": "system", "content": more.pop("system", "Be kind.")}, {"role": "user", "content": question}]
    bodies = {
        "request": json.dumps({"model": "m", "messages": asked}).encode(),
        "reply": json.dumps({"id": "chatcmpl-1", "model": "m", "choices": choices}).encode(),
    }
    return {"project_id": project_id, "reply_id": None, "error": null()} | bodies | more


async def add_answers(database: Database, project_id: str, count: int, **more: Any) -> list[str]:
    """Ids, oldest first: question 0 is answered with answer 0, and so on."""
    return await add(database, *(row(project_id, f"question {n}", f"answer {n}", **more) for n in range(count)))


async def make(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post(QUEUES, json={"name": "mine"} | body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def post(client: httpx.AsyncClient, queue: dict[str, Any], path: str, status: int = 200, **body: Any) -> Any:
    answer = await client.post(f"{QUEUES}/{queue['id']}/{path}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def taken(client: httpx.AsyncClient, queue: dict[str, Any], **body: Any) -> dict[str, Any]:
    """The next item, which there must be."""
    item = (await post(client, queue, "next", **body))["item"]
    assert item is not None
    return item


async def decided(client: httpx.AsyncClient, queue: dict[str, Any], item: dict[str, Any], **said: Any) -> Any:
    """What is known of the item then. Thumbs up, unless something else is said."""
    body: Any = {"values": {"thumbs": True}} | said
    return (await post(client, queue, f"items/{item['id']}/decision", **body))["item"]


def said_by(item: dict[str, Any]) -> list[str]:
    """The texts that are to be judged, in the order in which they are shown."""
    return [each["message"]["content"] for each in item["answers"]]
