"""From examples that people manage by hand to candidates."""

from gateway.datasets.building.candidate import Candidate
from gateway.datasets.building.logged import Call
from gateway.datasets.building.messages import (
    Json,
    NotText,
    cleaned,
    conversation_of,
    question_of,
    with_system,
    written,
)
from gateway.datasets.building.reading import Snapshot, calls_of, examples
from gateway.datasets.building.selection import Ground
from gateway.datasets.building.unusable import UNUSABLE
from gateway.db.database import Database
from gateway.db.tables import TrainingExampleRow


async def select_examples(database: Database, snapshot: Snapshot, ground: Ground) -> None:
    """Put every validated example that the recipe takes into the workplace, behind what came from the log."""
    wanted = ground.recipe.sources.examples
    assert wanted is not None
    async for page in examples(database, snapshot, wanted, ground.recipe.kind):
        ground.tally.considered += len(page)
        calls = await calls_of(database, snapshot, {row.exchange_id for row in page if row.exchange_id})
        candidates: list[Candidate] = []
        for row in page:
            try:
                candidate = _candidate(row, calls.get(row.exchange_id or ""), ground)
                ground.work.check(candidate)
                candidates.append(candidate)
            except (NotText, KeyError, IndexError, *UNUSABLE):
                ground.tally.drop("unusable", example_id=row.id)
        ground.work.add(candidates)


def _candidate(row: TrainingExampleRow, call: Call | None, ground: Ground) -> Candidate:
    """Args: call: that it was made of. Raises NotText, and KeyError and the like where the line is none of a training file."""
    prompt: Json = row.line if row.kind == "sft" else row.line["input"]
    messages = with_system([_kept(message) for message in prompt["messages"]], ground.recipe.system)
    rest: Json = {"tools": prompt["tools"]} if prompt.get("tools") else {}
    if row.kind == "sft":
        line: Json = {"messages": messages, **rest}
        asked, answer, rejected = messages[:-1], messages[-1], ""
    else:
        answer, other = (_kept(_output(row.line, name)) for name in ("preferred", "non_preferred"))
        line = {"input": {"messages": messages, **rest}, "preferred_output": [answer], "non_preferred_output": [other]}
        asked, rejected = messages, written(other)
    return Candidate(
        kind=ground.recipe.kind,
        line=line,
        question=question_of(asked),
        answer=written(answer),
        rejected=rejected,
        conversation=conversation_of(asked or messages, call.metadata if call else None),
        end_user=call.end_user if call else None,
        exchange_id=row.exchange_id,
        example_id=row.id,
        signal="example",
    )


def _kept(message: Json) -> Json:
    weight = {"weight": message["weight"]} if message.get("weight") is not None else {}
    return cleaned(message) | weight


def _output(line: Json, name: str) -> Json:
    return (line.get(f"{name}_output") or line[f"{name}_completion"])[0]
