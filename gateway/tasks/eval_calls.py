"""Calls for one item of a run: the model that answers it and the models that grade, asked with patience and counted."""

import asyncio
from collections import Counter
from typing import Any

import msgspec

from gateway.asking import Asked, NotAsked
from gateway.exchanges.assemble import answer_text
from gateway.grading import chat
from gateway.metering.usage import estimate_usage, read_usage
from gateway.services import WorkerServices
from gateway.tasks.eval_sources import RunFailed
from judges.ask import Answer, AskFailed, Question
from judges.grade import Tokens

TRIES = {"rate_limit": 20, "upstream": 6, "timeout": 2}
"""By what went wrong: a limit lets one through sooner or later, a server may come back, who took ten minutes takes them again."""
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds; doubled with every try, unless the gateway says how long."""
OUT_OF_BUDGET = "insufficient_quota"


class ItemCalls:
    """Asks for one item, and keeps what it took.

    Args:
        places: for calls, of this worker and all its runs.
    """

    def __init__(self, wv: WorkerServices, project_id: str, places: asyncio.Semaphore, *, first_wait: float) -> None:
        self._wv = wv
        self._project_id = project_id
        self._places = places
        self._first_wait = first_wait
        self.usage: dict[str, Any] = {}
        """By model, as `eval_output_items.metrics` has it."""
        self.made: list[str] = []
        """Exchanges of all calls, in order, those that were refused, too: each repeats something of the item."""

    async def chat(self, body: dict[str, Any]) -> tuple[Asked, Tokens]:
        """A chat completion, and what it took.

        Raises:
            NotAsked: also after every try that makes sense.
            RunFailed: there is no money left.
            Unavailable: the database is away.
        """
        asked = await self._asked(body)
        tokens = _tokens(body, asked.body)
        _count(self.usage, str(body["model"]), tokens, asked.cost_nano)
        return asked, tokens

    async def _asked(self, body: dict[str, Any]) -> Asked:
        tried: Counter[str] = Counter()
        while True:
            try:
                async with self._places:
                    asked = await self._wv.asking.chat(self._project_id, "eval", body)
            except NotAsked as refusal:
                self._note(refusal.exchange_id)
                tried[refusal.code] += 1
                if refusal.code == "quota":
                    raise RunFailed(OUT_OF_BUDGET, str(refusal)) from None
                if not refusal.retry or tried[refusal.code] >= TRIES.get(refusal.code, 1):
                    raise
                wait = refusal.retry_after
                if wait is None:
                    wait = self._first_wait * 2 ** (tried[refusal.code] - 1)
            else:
                self._note(asked.exchange_id)
                return asked
            await asyncio.sleep(min(wait, LONGEST_WAIT))

    def _note(self, exchange_id: str | None) -> None:
        if exchange_id:
            self.made.append(exchange_id)


class GraderCall:
    """How one grader of the item asks its model (judges.ask.Ask)."""

    def __init__(self, calls: ItemCalls) -> None:
        self._calls = calls
        self.answered: Asked | None = None
        """The call that was answered; None where no model was asked, or none answered."""

    async def __call__(self, question: Question) -> Answer:
        try:
            return await self._structured(question)
        except NotAsked as failure:
            raise AskFailed(str(failure)) from failure

    async def _structured(self, question: Question) -> Answer:
        """Held to the schema, unless the server cannot do that. Raises NotAsked."""
        try:
            return await self._answer(question, structured=True)
        except NotAsked as refusal:
            if refusal.code != "refused" or not chat.speaks_of_structure(str(refusal)):
                raise
            return await self._answer(question, structured=False)

    async def _answer(self, question: Question, *, structured: bool) -> Answer:
        self.answered, tokens = await self._calls.chat(
            msgspec.json.decode(chat.request_body(question, structured=structured))
        )
        return chat.answer(self.answered.body, question, tokens)


def _tokens(body: dict[str, Any], reply: bytes) -> Tokens:
    usage = read_usage(reply)[1] or estimate_usage(msgspec.json.encode(body), answer_text(reply))
    return Tokens(usage.input_tokens, usage.output_tokens, usage.cached_input_tokens)


def _count(usage: dict[str, Any], model: str, tokens: Tokens, cost_nano: int | None) -> None:
    """`priced` of the `calls` had a price; what those cost is `cost`."""
    known = usage.setdefault(model, {"calls": 0, "prompt": 0, "completion": 0, "cached": 0, "cost": 0, "priced": 0})
    for name, more in (
        ("calls", 1),
        ("prompt", tokens.prompt),
        ("completion", tokens.completion),
        ("cached", tokens.cached),
        ("cost", cost_nano or 0),
        ("priced", cost_nano is not None),
    ):
        known[name] += more
