"""vLLM always runs in processes of its own. Where it is not installed these tests are skipped, unless
TUNEWAY_REQUIRE_VLLM=1 says that they must run: `make vllm` installs it and runs them. The tests of one server share it,
for it takes a minute to start."""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.trainer.jobs import COLOUR_CHATS, write_job
from tests.vllm.servers import MODEL, post, serving
from trainer.contract import ADAPTER, RESULT, Succeeded, decode_result
from trainer.starter import STARTER

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


ONE_THREAD = {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """In float32, as the embedded engine computes on a CPU."""
    arguments = ["--model", str(STARTER), "--served-model-name", MODEL, "--dtype", "float32"]
    arguments += ["--enable-lora", "--max-lora-rank", "32", "--trust-request-chat-template", "--max-num-seqs", "4"]
    log = tmp_path_factory.mktemp("vllm") / "log"
    environment = {**ONE_THREAD, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}
    with serving("vllm.entrypoints.openai.api_server", *arguments, log=log, **environment) as url:
        yield url


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    arguments = ["--model", str(STARTER), "--served-model-name", MODEL, "--device", "cpu"]
    with serving("trainer.engine", *arguments, log=tmp_path_factory.mktemp("engine") / "log", **ONE_THREAD) as url:
        yield url


@pytest.fixture(scope="session")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on the starter by a trainer's process, in seconds."""
    job = write_job(
        tmp_path_factory.mktemp("jobs") / "job",
        base_model=STARTER,
        training=COLOUR_CHATS,
        n_epochs=10,
        batch_size=4,
    )
    subprocess.run([sys.executable, "-m", "trainer", str(job)], check=True)
    assert isinstance(decode_result((job / RESULT).read_bytes()), Succeeded)
    return job / ADAPTER


@pytest.fixture(scope="session")
def servers(vllm: str, embedded: str, adapter: Path) -> tuple[str, str]:
    """Both with the adapter under the name "colours"."""
    for url in (vllm, embedded):
        post(url, "/v1/load_lora_adapter", lora_name="colours", lora_path=str(adapter))
    return vllm, embedded
