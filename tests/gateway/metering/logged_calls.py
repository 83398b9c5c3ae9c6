"""Calls in the exchange log for tests, counted as a gateway counts them."""

import json
import os
from typing import Any

from gateway.db.database import Database
from gateway.exchanges.record import Record
from gateway.exchanges.rows import COLUMNS, exchange_row, storable
from gateway.metering.traffic_counts import post_traffic
from tests.gateway.exchanges.records import exchange
from tests.gateway.metering.ledger_rows import MIDNIGHT


async def log(database: Database, *calls: dict[str, Any]) -> None:
    """Changes to a completed call of 12.5 ms; each in its second from midnight on, in one transaction."""
    records = [_record(number, call) for number, call in enumerate(calls)]
    rows = [tuple(exchange_row(storable(each)).values()) for each in records]
    async with database.raw() as connection:
        await connection.copy_records_to_table("exchanges", records=rows, columns=COLUMNS)
        await post_traffic(connection, records)


def _record(number: int, call: dict[str, Any]) -> Record:
    at = call.get("created_at", MIDNIGHT + number)
    tried = json.dumps(call["attempts"]).encode() if call.get("attempts") else None
    changes = call | {"created_at": at, "attempts": tried}
    return exchange(f"req_{int(at * 1e9):016x}{os.urandom(8).hex()}", **changes)
