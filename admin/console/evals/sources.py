"""Where a run's items and answers come from, in words."""

from dataclasses import dataclass

from admin.console.api import Json


@dataclass(frozen=True, slots=True)
class Source:
    items: str
    """Where the items are from."""
    answers: str
    """Who answers."""
    file_id: str | None
    settings: list[tuple[str, str]]
    """What the model was asked with."""
    messages: list[Json]
    """The template of what is asked; empty where it is the item's own."""


def source(run: Json) -> Source:
    told = run["data_source"]
    of, asked = told.get("source") or {}, told.get("input_messages") or {}
    settings = [(name, str(value)) for name, value in (told.get("sampling_params") or {}).items()]
    if run["repeats"] > 1:
        settings.append(("repeats", str(run["repeats"])))
    return Source(
        items=_items(of, run),
        answers=run["model"] or "answers that came with the data",
        file_id=of.get("id") if of.get("type") == "file_id" else None,
        settings=settings,
        messages=asked.get("template") or [],
    )


def _items(of: Json, run: Json) -> str:
    kind = of.get("type")
    if kind == "file_content":
        count = (run["result_counts"]["total"] or 0) // run["repeats"]
        return f"{count:,} items that were sent with the run"
    if kind == "file_id":
        return "a file"
    if kind == "stored_completions":
        return ", ".join(["stored chat completions of the log", *_filters(of)])
    return "unknown"


def _filters(of: Json) -> list[str]:
    found = [f"of {of['model']}"] if of.get("model") else []
    found += [f"with {key} = {value}" for key, value in (of.get("metadata") or {}).items()]
    return found + ([f"{of['limit']:,} at most"] if of.get("limit") else [])
