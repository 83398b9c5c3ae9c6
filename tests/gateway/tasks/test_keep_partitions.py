"""The log's months are made ahead."""

import logging
from datetime import timedelta

import pytest
from sqlalchemy import text

from gateway.db import partitions
from gateway.db.partitions import PARTITIONED, next_month, parts
from gateway.kit.clock import now, unix
from gateway.kit.ids import first_request_id
from gateway.services import WorkerServices
from gateway.tasks.keep_partitions import AHEAD, keep_partitions

pytestmark = pytest.mark.anyio


class TestKeepPartitions:
    async def test_months_are_made_before_they_begin(self, wv: WorkerServices) -> None:
        await keep_partitions(wv)
        async with wv.database.session() as session:
            ends = [(await parts(session, table))[-1].first for table in PARTITIONED]
        assert ends == [first_request_id(unix(next_month(now() + AHEAD)))] * 2
        assert timedelta(days=62) <= AHEAD

    async def test_a_table_in_use_is_for_the_next_round(
        self, wv: WorkerServices, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(partitions, "PATIENCE", "10ms")
        with caplog.at_level(logging.INFO):
            async with wv.database.session() as reader:
                await reader.execute(text("SELECT count(*) FROM exchanges"))
                await keep_partitions(wv)
        assert "exchanges is in use" in caplog.text
        async with wv.database.session() as session:
            assert [len(await parts(session, table)) > 2 for table in PARTITIONED] == [False, True]
        await keep_partitions(wv)
        async with wv.database.session() as session:
            assert [len(await parts(session, table)) > 2 for table in PARTITIONED] == [True, True]
