"""Where a run's items come from, and what a run shows of it."""

from typing import Any

import msgspec

from gateway.protocol.evals import (
    CompletionsSource,
    DataSource,
    FileContent,
    FileId,
    JsonlSource,
    ResponsesFilter,
    ResponsesSource,
    StoredCompletions,
)

SHOWN_ITEMS = 100
SHOWN_BYTES = 100_000
"""Of inline content. All of it is in the output items."""
MAX_OUTPUT_ITEMS = 100_000
"""Items times repeats of one run."""
MAX_INLINE_BYTES = 64 * 1024**2
"""Of inline content, times repeats."""
DIRECTORY = "evals"
"""Below the data directory: for files without a name, while they are read."""
_encode = msgspec.json.Encoder().encode


class Wrong(Exception):
    """A data source that cannot be run.

    Args:
        path: below the data source.
        message: None: it is missing.
    """

    def __init__(self, path: str, message: str | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.message = message


def check(source: DataSource, *, has_schema: bool) -> None:
    """What its type cannot say.

    Args:
        has_schema: the eval has items of its own: stored completions do not fit it.

    Raises:
        Wrong
    """
    of = source.source
    if isinstance(of, ResponsesFilter):
        raise Wrong(
            "source.type",
            "no responses are stored here: use file_content, file_id or stored_completions (chat completions that were made "
            "with store: true)",
        )
    if isinstance(of, FileContent) and not of.content:
        raise Wrong("source.content", "expected at least one item")
    if isinstance(of, StoredCompletions) and has_schema:
        raise Wrong("source.type", "stored_completions are for evals whose data_source_config has the type logs")
    if not isinstance(source, JsonlSource):
        _check_asking(source)
    elif isinstance(of, StoredCompletions):
        raise Wrong("type", "a source of stored_completions goes with the type completions")


def _check_asking(source: CompletionsSource | ResponsesSource) -> None:
    if source.model is None:
        if source.input_messages is not None or not isinstance(source.source, StoredCompletions):
            raise Wrong("model")
    elif source.input_messages is None and not isinstance(source.source, StoredCompletions):
        raise Wrong("input_messages")


def wants_model(source: DataSource) -> str | None:
    """The model that answers; None where the answers are there already."""
    return None if isinstance(source, JsonlSource) else source.model


def read(stored: dict[str, Any]) -> DataSource:
    return msgspec.convert(stored, DataSource)


def file_id(source: DataSource) -> str | None:
    return source.source.id if isinstance(source.source, FileId) else None


def shown(stored: dict[str, Any]) -> dict[str, Any]:
    """With the first items of inline content only: a list of runs shows a hundred of these."""
    source: dict[str, Any] = stored.get("source", {})
    if "content" not in source:
        return stored
    kept: list[Any] = []
    size = 0
    for line in source["content"][:SHOWN_ITEMS]:
        size += len(_encode(line))
        if size > SHOWN_BYTES:
            break
        kept.append(line)
    return stored | {"source": source | {"content": kept}}
