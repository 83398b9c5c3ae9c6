"""The conversation with LlamaIndex: an agent with tools, its memory, a structured LLM. Prints one JSON object."""

import offline  # isort: skip
import asyncio
import json
import os
import sys
from typing import Any, Literal

from llama_index.core import set_global_tokenizer
from llama_index.core.agent.workflow import AgentStream, FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import Memory
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

assert offline
SYSTEM, *QUESTIONS, WISH = json.loads(sys.argv[1])
STREAM = os.environ["STREAM"] == "1"
set_global_tokenizer(str.split)
llm = OpenAILike(
    model=os.environ["MODEL"],
    api_base=os.environ["BASE_URL"],
    api_key=os.environ["API_KEY"],
    is_chat_model=True,
    is_function_calling_model=True,
    should_use_structured_outputs=True,
    max_retries=0,
)
ran: list[Any] = []
pieces: list[int] = []


class Ticket(BaseModel):
    """What the shop writes down."""

    order: int
    urgent: bool
    summary: str
    topics: list[Literal["delivery", "refund"]]


def order_status(order: int) -> str:
    """Where an order is."""
    ran.append(["order_status", {"order": order}])
    return f"Order {order} left on Tuesday."


def refund_days(country: Literal["France", "Norway"]) -> str:
    """How long a refund takes."""
    ran.append(["refund_days", {"country": country}])
    return f"Refunds to {country} take five days."


async def ask(agent: FunctionAgent, memory: Memory, question: str) -> str:
    run = agent.run(question, memory=memory)
    deltas = [event.delta async for event in run.stream_events() if isinstance(event, AgentStream)]
    if STREAM:
        pieces.append(sum(map(bool, deltas)))
    return str(await run)


async def file_ticket(memory: Memory) -> Ticket:
    messages = [
        ChatMessage(role="system", content=SYSTEM),
        *await memory.aget(),
        ChatMessage(role="user", content=WISH),
    ]
    structured = llm.as_structured_llm(Ticket)
    if not STREAM:
        return (await structured.achat(messages)).raw
    return [each async for each in await structured.astream_chat(messages)][-1].raw


async def main() -> None:
    memory = Memory.from_defaults(token_limit=10_000)
    agent = FunctionAgent(tools=[order_status, refund_days], llm=llm, system_prompt=SYSTEM, streaming=STREAM)
    answers = [await ask(agent, memory, question) for question in QUESTIONS]
    ticket = await file_ticket(memory)
    assert isinstance(ticket, Ticket), ticket
    json.dump({"answers": answers, "ran": ran, "pieces": pieces, "ticket": ticket.model_dump()}, sys.stdout)


asyncio.run(main())
