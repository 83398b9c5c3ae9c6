"""What a worker asks of its process."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import ctypes, resource, sys
from deploy.gateway_worker import keep_memory
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: pages of one size everywhere
if sys.argv[1] == "kept":
    keep_memory()
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def use(): bytearray(10_000_000), bytearray(10_000_000), bytearray(10_000_000)
use()
before = faults()
for _ in range(10): use()
print((faults() - before) // 10)
"""
PAGES = 10_000_000 // 4096


def faults(how: str) -> int:
    """Pages that the kernel has to give, each time that large bodies come."""
    done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
class TestKeepMemory:
    def test_large_bodies_take_the_memory_of_those_before_them(self) -> None:
        assert faults("kept") < PAGES / 10

    def test_which_they_would_not_without_it(self) -> None:
        assert faults("not kept") > PAGES
