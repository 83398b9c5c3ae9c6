"""All keys of a project as a file."""

from datetime import UTC, datetime

from litestar import Response, get

from admin.console import spreadsheet
from admin.console.api import Json, at_once
from admin.console.page import CurrentPage
from admin.console.pages.keys import key_url, spend_of_month

MOST = 10_000
"""Keys."""
COLUMNS = (
    "id", "name", "redacted_value", "owner_type", "owner", "purpose", "created_at", "last_used_at", "expires_at", "logging",
    "allowed_models", "scopes", "tags", "tier", "month", "spent_usd",
)  # fmt: skip


@get("/projects/{project_id:str}/keys.csv")
async def export_keys(page: CurrentPage) -> Response[bytes]:
    """With what each spent this month (UTC)."""
    keys, spent = await at_once(page.api.every(key_url(page), most=MOST), spend_of_month(page))
    rows = (_row(key, spent.get(key["id"], 0.0)) for key in keys)
    headers = {"content-disposition": 'attachment; filename="keys.csv"'}
    return Response(spreadsheet.lines([COLUMNS, *rows]), media_type="text/csv; charset=utf-8", headers=headers)


def _row(key: Json, spent: float) -> list[str]:
    owner = key["owner"]
    lists = [" ".join(key[name] or []) for name in ("allowed_models", "scopes")]
    moments = [_moment(key[name]) for name in ("created_at", "last_used_at", "expires_at")]
    who = [owner["type"], owner[owner["type"]]["name"], key["purpose"] or ""]
    rest = [", ".join(key["tags"]), key["tier"] or "", f"{datetime.now(UTC):%Y-%m}", f"{spent:.9f}"]
    return [key["id"], key["name"], key["redacted_value"], *who, *moments, key["logging"], *lists, *rest]


def _moment(unix: int | None) -> str:
    return f"{datetime.fromtimestamp(unix, UTC):%Y-%m-%dT%H:%M:%SZ}" if unix is not None else ""
