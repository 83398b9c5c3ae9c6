"""Anthropic's API, faked on a socket."""

from collections.abc import Iterator

import pytest

from tests.fakes.anthropic import FakeAnthropic, running_anthropic


@pytest.fixture(scope="module")
def running() -> Iterator[FakeAnthropic]:
    with running_anthropic() as fake:
        yield fake


@pytest.fixture
def fake(running: FakeAnthropic) -> FakeAnthropic:
    """Its memory of earlier tests cleared."""
    running.requests.clear()
    running.headers.clear()
    return running
