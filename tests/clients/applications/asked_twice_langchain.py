"""LangChain asks the same three times, whole, whole and streamed, and may use a tool. Prints one JSON object."""

import offline  # isort: skip
import json
import os
import sys
from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

assert offline


@tool
def order_status(order: int) -> str:
    """Where an order is."""
    return f"Order {order} left on Tuesday."


model = ChatOpenAI(
    model=os.environ["MODEL"],
    base_url=os.environ["BASE_URL"],
    api_key=os.environ["API_KEY"],
    temperature=0,
    max_retries=0,
    stream_usage=True,
    include_response_headers=True,
).bind_tools([order_status])


def told(message: Any) -> dict[str, Any]:
    return {
        "content": message.content,
        "calls": [[call["id"], call["name"], call["args"]] for call in message.tool_calls],
        "usage": message.usage_metadata["total_tokens"] if message.usage_metadata else None,
        "cache": message.response_metadata["headers"].get("x-tuneway-cache"),
    }


QUESTION = "Where is order 77?"
streamed = AIMessageChunk("")
found = [told(model.invoke(QUESTION)) for _ in range(2)]
for piece in model.stream(QUESTION):
    streamed += piece
json.dump([*found, told(streamed)], sys.stdout)
