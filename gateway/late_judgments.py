"""gateway/rule_judgments.py, loaded with the first verdict: most gateways have no checks, and do without what it brings along."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.exchanges.record import Record


class LateJudgments:
    """
    Args:
        database: opens one, or tells which; gateway/db/database.py may not have been loaded before, either.
    """

    def __init__(self, database: Callable[[], Any]) -> None:
        self._database = database
        self._loaded: Any = None

    async def of(self, records: Sequence[Record]) -> list[dict[str, Any]]:
        return await self._judgments.of(records)

    async def write(self, connection: Any, rows: Sequence[Mapping[str, Any]]) -> None:
        await self._judgments.write(connection, rows)

    @property
    def _judgments(self) -> Any:
        if self._loaded is None:
            self._loaded = importlib.import_module("gateway.rule_judgments").RuleJudgments(self._database())
        return self._loaded
