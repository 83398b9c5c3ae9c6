"""Two answers to one question, side by side."""

import asyncio
from typing import Any

from litestar import Response, get
from litestar.params import FromPath

from admin.console import conversation
from admin.console.api import Json, at_once, path_of
from admin.console.page import CurrentPage
from admin.console.word_diff import word_diff


@get("/projects/{project_id:str}/exchanges/{exchange_id:str}/replays/{other_id:str}")
async def show_replay(page: CurrentPage, exchange_id: FromPath[str], other_id: FromPath[str]) -> Response[str]:
    """The API waits for one that has just ended."""
    first, other = await at_once(*(page.api.get(f"/exchanges{path_of(id)}") for id in (exchange_id, other_id)))
    texts = [conversation.text_of_answer(each["reply"]) for each in (first, other)]
    return page.show(
        "replay.html",
        asked=conversation.asked(first["request"]),
        sides=[_side(each, text) for each, text in zip((first, other), texts, strict=True)],
        diff=await asyncio.to_thread(word_diff, *texts),
        is_same=texts[0] == texts[1],
    )


def _side(exchange: Json, text: str) -> dict[str, Any]:
    return {"exchange": exchange, "text": text, "answers": conversation.answers(exchange["reply"])}
