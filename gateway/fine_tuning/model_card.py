"""README.md of an exported model: what it was made from, how, and how to load it (Hugging Face's model card format)."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import FileRow, FineTuningCheckpointRow, FineTuningEventRow, FineTuningJobRow, ModelRow

LONGEST_LINEAGE = 100
BESIDE = ("step", "total_steps")
"""Of an event's numbers: not measured ones."""


@dataclass(frozen=True, kw_only=True)
class TrainedOn:
    """A file as a job read it."""

    id: str
    filename: str | None
    sha256: str | None
    bytes: int | None


@dataclass(frozen=True, kw_only=True)
class Ancestor:
    """One training on the way from the base to this model."""

    model: str
    job_id: str
    method: str
    training_file: TrainedOn | None
    """None for another project's: permission to call a model shows nothing of its data."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """Everything that the text says."""

    model: ModelRow
    job: FineTuningJobRow
    training_file: TrainedOn
    validation_file: TrainedOn | None
    metrics: dict[str, Any]
    lineage: list[Ancestor]
    """Oldest first; the last is this model's own training."""


async def read_card(session: AsyncSession, model: ModelRow) -> Card:
    """What the database knows of a model's making; files that were deleted since are still named with their hash."""
    job = await session.get_one(FineTuningJobRow, model.job_id)
    validation = await _file(session, job.validation_file) if job.validation_file else None
    return Card(
        model=model,
        job=job,
        training_file=await _file(session, job.training_file),
        validation_file=validation,
        metrics=await _metrics(session, model),
        lineage=await _lineage(session, model, job),
    )


def render(card: Card, *, merged: bool) -> str:
    """The card as Markdown."""
    return (
        "\n".join([*_front(card, merged=merged), *_origin(card), *_numbers(card), *_loading(card, merged=merged)])
        + "\n"
    )


def _front(card: Card, *, merged: bool) -> Iterator[str]:
    model = card.model
    how = _training_type(card)
    yield from ("---", f"base_model: {json.dumps(model.base_model)}")
    yield from (f"library_name: {'transformers' if merged else 'peft'}", "pipeline_tag: text-generation")
    yield from ("tags:", f"- {how}", f"- {card.job.method['type']}", "---", "", f"# {model.id}", "")
    what = "Weights" if merged else "A LoRA adapter"
    step = f" as it was after optimizer step {model.step}" if model.step is not None else ""
    yield f"{what} fine-tuned from `{model.base_model}` ({card.job.method['type']}, {how}){step}."
    yield f"Made by the job `{card.job.id}` on {model.created_at:%Y-%m-%d %H:%M} UTC."
    if merged and model.kind == "adapter":
        yield "The adapter was merged in 32-bit floats into the unquantized base and written in the base's own precision."


def _origin(card: Card) -> Iterator[str]:
    yield from ("", "## Data", "", "| | file | name | bytes | sha256 |", "|---|---|---|---|---|")
    for role, file in (("training", card.training_file), ("validation", card.validation_file)):
        if file is not None:
            size = "" if file.bytes is None else str(file.bytes)
            yield f"| {role} | `{file.id}` | {_cell(file.filename or '')} | {size} | `{file.sha256 or 'unknown'}` |"
    yield from ("", "## Lineage", "", f"1. `{card.model.base_model}`, the base")
    for number, one in enumerate(card.lineage, 2):
        yield f"{number}. `{one.model}`: {_made(one)}"


def _made(one: Ancestor) -> str:
    if one.training_file is None:
        return f"{one.method}, by another project"
    digest = f" (sha256 `{one.training_file.sha256}`)" if one.training_file.sha256 else ""
    return f"job `{one.job_id}`, {one.method}, on `{one.training_file.id}`{digest}"


def _numbers(card: Card) -> Iterator[str]:
    training = dict(card.job.training)
    reasons: dict[str, Any] = training.pop("reasons", {})
    numbers = card.job.method[card.job.method["type"]]["hyperparameters"] | training | {"seed": card.job.seed}
    yield from ("", "## Hyperparameters", "", "| | value | why |", "|---|---|---|")
    for name, value in numbers.items():
        if value is not None:
            yield f"| {_cell(name)} | {_cell(str(value))} | {_cell(str(reasons.get(name, '')))} |"
    yield from ("", "## Metrics", "", "| | |", "|---|---|")
    for name, value in card.metrics.items():
        yield f"| {_cell(name)} | {_cell(f'{value:.6g}' if isinstance(value, float) else str(value))} |"
    if card.job.trained_tokens is not None and card.model.step is None:
        yield f"| trained_tokens | {card.job.trained_tokens} |"


def _loading(card: Card, *, merged: bool) -> Iterator[str]:
    base = card.model.base_model
    yield from ("", "## Use", "")
    if merged:
        yield from ("```python", "from transformers import AutoModelForCausalLM, AutoTokenizer", "")
        yield from ('model = AutoModelForCausalLM.from_pretrained(".", dtype="auto")',)
        yield from ('tokenizer = AutoTokenizer.from_pretrained(".")', "```", "", "```sh", "vllm serve .", "```")
        return
    yield from ("```python", "from peft import PeftModel", "from transformers import AutoModelForCausalLM", "")
    yield f'base = AutoModelForCausalLM.from_pretrained("{base}", dtype="auto")  # the name or the directory of the base'
    yield from ('model = PeftModel.from_pretrained(base, ".")', "```", "", "```sh")
    rank = card.job.training.get("lora_rank")
    more = f" --max-lora-rank {rank}" if isinstance(rank, int) else ""
    yield from (f"vllm serve {base} --enable-lora{more} --lora-modules {card.model.id.split(':')[-1]}=.", "```")


def _training_type(card: Card) -> str:
    if card.model.kind == "full":
        return "full"
    return "qlora" if card.job.training.get("type") == "qlora" else "lora"


def _cell(text: str) -> str:
    """Text from outside in a table: one line, no column of its own."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


async def _file(session: AsyncSession, file_id: str) -> TrainedOn:
    row = await session.get(FileRow, file_id)
    if row is None:
        return TrainedOn(id=file_id, filename=None, sha256=None, bytes=None)
    return TrainedOn(id=row.id, filename=row.filename, sha256=row.sha256, bytes=row.bytes)


async def _metrics(session: AsyncSession, model: ModelRow) -> dict[str, Any]:
    """The last that was measured of each; of a checkpoint, at its step."""
    checkpoints = select(FineTuningCheckpointRow.metrics).where(FineTuningCheckpointRow.job_id == model.job_id)
    if model.step is not None:
        return await session.scalar(checkpoints.where(FineTuningCheckpointRow.step == model.step)) or {}
    events = select(FineTuningEventRow.values).where(FineTuningEventRow.job_id == model.job_id)
    events = events.where(FineTuningEventRow.type == "metrics").order_by(FineTuningEventRow.number)
    found: dict[str, Any] = {}
    for values in await session.scalars(events):
        found |= {name: value for name, value in (values or {}).items() if name not in BESIDE and value is not None}
    return found


async def _lineage(session: AsyncSession, model: ModelRow, job: FineTuningJobRow) -> list[Ancestor]:
    """Deleted models are named, too."""
    steps: list[Ancestor] = []
    name = model.id
    for _ in range(LONGEST_LINEAGE):
        file = await _file(session, job.training_file) if job.project_id == model.project_id else None
        steps.append(Ancestor(model=name, job_id=job.id, method=job.method["type"], training_file=file))
        parent = await session.get(ModelRow, job.model)
        if parent is None:
            break
        name, job = parent.id, await session.get_one(FineTuningJobRow, parent.job_id)
    return steps[::-1]
