"""Answers that are given again, as LangChain takes them: it reads of a stream what it read of the whole."""

import sys

from tests.clients.conftest import NewKey
from tests.clients.libraries import APPLICATIONS, Application
from tests.fakes.upstream import Upstream
from tests.gateway.conftest import RunningGateway


class TestLangChain:
    def test_takes_hits_whole_and_streamed(
        self, gateway: RunningGateway, new_key: NewKey, running_fake: Upstream
    ) -> None:
        running_fake.requests.clear()
        application = Application([sys.executable, str(APPLICATIONS / "asked_twice_langchain.py")])
        key = new_key("shop")["value"]
        asked, again, streamed = application.run(BASE_URL=f"{gateway.url}/v1", API_KEY=key, MODEL="kept")
        assert [each.pop("cache") for each in (asked, again, streamed)] == ["miss", "hit", "hit"]
        assert asked == again == streamed
        [[_, name, arguments]] = asked["calls"]
        assert (name, arguments, asked["usage"]) == ("order_status", {"order": 77}, 16)
        assert len(running_fake.requests) == 1
