"""Rows of the ledger for tests, posted as a gateway posts them."""

from typing import Any

from gateway.db.database import Database
from gateway.kit.clock import from_unix
from gateway.metering.ledger import Ledger
from gateway.metering.rollups import post_rollups

MIDNIGHT = 1_795_219_200
"""2026-11-21 00:00 UTC."""
HOUR, DAY = 3_600, 86_400


def charge(id: str, **changes: Any) -> dict[str, Any]:
    """12 tokens (4 of them cached) and 4 written ones, at 5, 0.5 and 10 dollars a million."""
    row: dict[str, Any] = {
        "id": id,
        "created_at": MIDNIGHT + 0.25,
        "kind": "call",
        "project_id": "proj_1",
        "api_key_id": "key_1",
        "user_id": "",
        "holder": "1-abc",
        "model": "m",
        "endpoint": "/chat/completions",
        "batch": False,
        "priced": True,
        "input_tokens": 12,
        "cached_input_tokens": 4,
        "output_tokens": 4,
        "device_ms": 0,
        "input_nano": 40_000,
        "cached_input_nano": 2_000,
        "output_nano": 40_000,
        "request_nano": 0,
    }
    row |= changes
    parts = sum(row[name] for name in ("input_nano", "cached_input_nano", "output_nano", "request_nano"))
    return row | {"created_at": from_unix(row["created_at"]), "cost_nano": parts}


async def post(database: Database, *rows: dict[str, Any]) -> None:
    """Each a row that `charge` made, or its changes to one."""
    charges = [row if "id" in row else charge(f"req_{number:04}", **row) for number, row in enumerate(rows)]
    async with database.raw() as connection:
        await Ledger([post_rollups]).post(connection, charges)
