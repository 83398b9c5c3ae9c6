"""Which answers become rows."""

from pathlib import Path

import pytest

from tests.gateway.datasets.building.world import World, built, recipe, sentence

pytestmark = pytest.mark.anyio


class TestPositiveSignal:
    """Pitfall 14: nothing is learnt that nobody said is good."""

    async def test_unjudged_answers_are_left_out(self, world: World, tmp_path: Path) -> None:
        liked = world.call(sentence(1), "The liked answer.")
        world.call(sentence(2), "Nobody said anything.")
        await world.thumb(liked)
        await world.store()
        version = await built(world, tmp_path, recipe())
        assert version.answers == ["The liked answer."]
        assert version.dropped == {"unjudged": 1}
        assert version.report.dropped[0].examples == [{"exchange_id": world.exchanges[1]["id"]}]
        assert version.report.by_signal == {"human": 1}
        assert version.report.considered == 2
