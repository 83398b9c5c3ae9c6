"""The stack of tests/openai_sdk, for clients written in JavaScript."""

import os

import pytest

from tests.openai_node.node import ENABLE, Node, NoNode, find_node
from tests.openai_sdk.conftest import key, other_key, provider, stack

__all__ = ["key", "other_key", "provider", "stack"]


@pytest.fixture(scope="session")
def node() -> Node:
    try:
        node = find_node()
        for version in (6, 7):
            node.install(version)
    except NoNode as reason:
        if os.environ.get("TUNEWAY_REQUIRE_NODE") == "1":
            raise
        pytest.skip(f"{reason}; what enables these tests: {ENABLE}")
    return node
