"""The conversation with LangChain: bound tools, a list of messages, structured output. Prints one JSON object."""

import offline  # isort: skip
import json
import os
import sys
from typing import Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

assert offline
SYSTEM, *QUESTIONS, WISH = json.loads(sys.argv[1])
STREAM = os.environ["STREAM"] == "1"
model = ChatOpenAI(
    model=os.environ["MODEL"], base_url=os.environ["BASE_URL"], api_key=os.environ["API_KEY"], max_retries=0
)
ran: list[Any] = []
pieces: list[int] = []


class Ticket(BaseModel):
    """What the shop writes down."""

    order: int
    urgent: bool
    summary: str
    topics: list[Literal["delivery", "refund"]]


@tool
def order_status(order: int) -> str:
    """Where an order is."""
    ran.append(["order_status", {"order": order}])
    return f"Order {order} left on Tuesday."


@tool
def refund_days(country: Literal["France", "Norway"]) -> str:
    """How long a refund takes."""
    ran.append(["refund_days", {"country": country}])
    return f"Refunds to {country} take five days."


TOOLS = {each.name: each for each in (order_status, refund_days)}
history: list[BaseMessage] = [SystemMessage(SYSTEM)]


def reply() -> AIMessage:
    """With tools, whole or put together from its chunks."""
    with_tools = model.bind_tools(list(TOOLS.values()))
    if not STREAM:
        return with_tools.invoke(history)
    chunks = list(with_tools.stream(history))
    pieces[-1] += sum(bool(chunk.text) for chunk in chunks)
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole


def ask(question: str) -> str:
    if STREAM:
        pieces.append(0)
    history.append(HumanMessage(question))
    while (answer := reply()).tool_calls:
        history.append(answer)
        history.extend(TOOLS[call["name"]].invoke(call) for call in answer.tool_calls)
    history.append(answer)
    return answer.text


def file_ticket() -> Ticket:
    history.append(HumanMessage(WISH))
    structured = model.with_structured_output(Ticket)
    if not STREAM:
        return structured.invoke(history)
    return list(structured.stream(history))[-1]


answers = [ask(question) for question in QUESTIONS]
ticket = file_ticket()
assert isinstance(ticket, Ticket), ticket
json.dump({"answers": answers, "ran": ran, "pieces": pieces, "ticket": ticket.model_dump()}, sys.stdout)
