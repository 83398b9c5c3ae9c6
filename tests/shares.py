"""How processes share the tests (pytest-xdist): file by file, the long ones first. Files that share what takes long to start go
to one process, one after the other."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

TOGETHER = {
    "one tuneway serve": ("tests/openai_sdk/",),
    "one that parts of are killed": (
        "tests/faults/test_killed_gateway.py",
        "tests/faults/test_killed_parts.py",
        "tests/faults/test_restart.py",
    ),
    "one browser": ("tests/browser/",),
    "one vLLM": (
        "tests/vllm/test_probe.py",
        "tests/vllm/test_refusals.py",
        "tests/vllm/test_rendering.py",
        "tests/vllm/test_server.py",
    ),
}
"""A share -> what the names of its tests begin with."""


def share_of(nodeid: str) -> str:
    """What a test is given to a process with: a share of TOGETHER, or its file."""
    file = nodeid.partition("::")[0]
    return next((share for share, beginnings in TOGETHER.items() if file.startswith(beginnings)), file)


def long_first(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Those of TOGETHER and of files with slow tests, then files with many: at the end, no process waits long for another."""
    slow = {share_of(item.nodeid) for item in items if item.get_closest_marker("slow")} | TOGETHER.keys()
    tests = Counter(share_of(item.nodeid) for item in items)

    def place(item: pytest.Item) -> tuple[bool, int, str]:
        share = share_of(item.nodeid)
        return (share not in slow, -tests[share], share)

    return sorted(items, key=place)


class Shares(LoadFileScheduling):
    """Gives every process one share after the other, in the order of `long_first`."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)
        self._last: dict[str, tuple[float, str]] = {}

    def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
        self._last[node.gateway.id] = time.monotonic(), share_of(self.registered_collections[node][item_index])
        super().mark_test_complete(node, item_index, duration)

    def remove_node(self, node: Any) -> str | None:
        """The test that its process ended with, which is not run again: as likely as not, another process would end with it."""
        units = self.assigned_work[node].values()
        ended_with = next((test for unit in units for test, done in unit.items() if not done), None)
        for unit in units:
            if ended_with in unit:
                unit[ended_with] = True
        super().remove_node(node)
        return ended_with

    def waits(self) -> list[str]:
        """How long each process had nothing to do while others ended."""
        end = max((moment for moment, _ in self._last.values()), default=0.0)
        return [f"{name} waited {end - at:.0f} s after {last}" for name, (at, last) in sorted(self._last.items())]

    def _split_scope(self, nodeid: str) -> str:
        return share_of(nodeid)
