"""POST /v1/evals/import: a table or training examples as the items of an eval. An extension."""

from typing import Annotated, Any, Literal

import msgspec

from gateway.protocol.datasets import Skipped
from gateway.protocol.files import File

MOST_ITEMS = 100_000
"""As many as a run takes."""
Layout = Literal["items", "examples", "table"]


class ItemsImport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked for."""

    file_id: str
    """A stored file of any purpose."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_ITEMS)] | None = None
    """The first so many."""
    store: bool = False
    """Keep them as a file of purpose `evals`."""


class ImportedItems(msgspec.Struct, kw_only=True):
    """What is in the file, and what became of it."""

    object: str = "eval.import"
    layout: Layout
    """items: lines of an eval; examples: training examples, of which `input` is asked and `expected` is held out; table:
    each row is an item."""
    rows: int
    items: int
    with_sample: int
    """Items that bring an answer along."""
    item_schema: dict[str, Any]
    """JSON Schema that all of them fit."""
    examples: list[dict[str, Any]]
    """The first items; long texts are cut here only."""
    skipped: Skipped
    notes: list[str]
    ready: bool
    """The file itself can be the data of a run: nothing has to be stored."""
    file: File | None = None
    """With `store`."""
