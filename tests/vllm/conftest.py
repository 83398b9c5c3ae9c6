"""vLLM always runs in processes of its own. Where it is not installed these tests are skipped, unless
TUNEWAY_REQUIRE_VLLM=1 says that they must run: `make vllm` installs it and runs them."""

import os
from importlib.util import find_spec

import pytest

REQUIRED = os.environ.get("TUNEWAY_REQUIRE_VLLM") == "1"

# Read by the libraries when they are imported, here and in the processes that tests start.
os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "VLLM_NO_USAGE_STATS": "1",
}


@pytest.fixture(scope="session", autouse=True)
def vllm_is_installed() -> None:
    if find_spec("vllm") is None:
        missing = "vLLM is not installed. `make vllm` installs it and runs these tests."
        pytest.fail(missing) if REQUIRED else pytest.skip(missing)
