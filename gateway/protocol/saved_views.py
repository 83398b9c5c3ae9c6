"""/v1/saved_views (an extension): filters of a page of the console, under a name."""

from typing import Annotated, Literal

import msgspec

Page = Literal["exchanges", "judgments", "examples"]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Value = Annotated[str, msgspec.Meta(max_length=1000)]
Query = Annotated[
    dict[Annotated[str, msgspec.Meta(max_length=200)], Value | list[Value]], msgspec.Meta(max_length=50)
]  # fmt: skip
"""Parameters of the page's URL."""


class SavedViewCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    page: Page
    name: Name
    """Unique among those of the page."""
    query: Query


class SavedViewUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    query: Query | msgspec.UnsetType = msgspec.UNSET


class SavedView(msgspec.Struct, kw_only=True):
    id: str
    object: str = "saved_view"
    created_at: int
    created_by: str
    """An api key, a person's among them."""
    page: str
    name: str
    query: dict[str, str | list[str]]
