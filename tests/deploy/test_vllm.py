import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from deploy.parts import StackError
from deploy.vllm import SERVER, SERVER_ON_CPU, Vllm, VllmOptions, cause, find_vllm, options_of
from gateway.settings import EngineSettings, Secret, Settings, VllmSettings

STARTED = ("--model", "/m", "--served-model-name", "m", "--host", "127.0.0.1", "--port", "4711")


def vllm(on_cpu: bool = True, *, sleeps: bool = False, **settings: object) -> Vllm:
    options = VllmOptions(VllmSettings(**settings), sleeps=sleeps)  # type: ignore[arg-type]
    return Vllm("/opt/python", on_cpu, options, "sk-own")


def arguments(found: Vllm) -> list[str]:
    argv = found.part(("leash",), model="/m", name="m", port=4711).command.argv
    server = SERVER_ON_CPU if found.on_cpu else SERVER
    first, rest = ("leash", "/opt/python", *server), 2 + len(server)
    assert argv[:rest] == first
    assert argv[rest : rest + len(STARTED)] == STARTED
    return list(argv[rest + len(STARTED) :])


def environment(found: Vllm) -> Mapping[str, str]:
    return found.part(("leash",), model="/m", name="m", port=4711).command.environment


def python(folder: Path, says: str) -> str:
    """A program that answers what it is asked about itself."""
    program = folder / "python"
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)
    return str(program)


class TestArguments:
    def test_what_is_not_set_is_left_to_vllm(self):
        always = ["--enable-lora", "--enable-prompt-tokens-details", "--disable-uvicorn-access-log"]
        assert arguments(vllm()) == ["--max-loras", "4", "--max-lora-rank", "64", *always]

    def test_every_setting_has_its_option(self):
        given = arguments(
            vllm(
                max_loras=2,
                max_cpu_loras=9,
                max_lora_rank=8,
                max_model_len=100,
                dtype="float32",
                gpu_memory_utilization=0.5,
                tensor_parallel_size=2,
                max_num_seqs=3,
                extra_args=("--quantization", "fp8"),
            )
        )
        pairs = dict(zip(given[:-2:2], given[1:-2:2], strict=False))
        assert pairs["--max-cpu-loras"] == "9"
        assert given[:16] == [
            *("--max-loras", "2", "--max-cpu-loras", "9", "--max-lora-rank", "8", "--max-model-len", "100"),
            *("--dtype", "float32", "--gpu-memory-utilization", "0.5", "--tensor-parallel-size", "2"),
            *("--max-num-seqs", "3"),
        ]
        assert given[-2:] == ["--quantization", "fp8"]

    def test_one_that_sleeps_has_the_option_and_the_endpoints(self):
        assert "--enable-sleep-mode" in arguments(vllm(sleeps=True))
        assert environment(vllm(sleeps=True))["VLLM_SERVER_DEV_MODE"] == "1"
        assert "VLLM_SERVER_DEV_MODE" not in environment(vllm())

    def test_the_key_is_not_on_the_command_line(self):
        assert not any("sk-own" in word for word in arguments(vllm()))
        assert environment(vllm())["VLLM_API_KEY"] == "sk-own"


class TestEnvironment:
    def test_reports_to_nobody_and_downloads_nothing(self):
        quiet = environment(vllm())
        for name in ("VLLM_NO_USAGE_STATS", "DO_NOT_TRACK", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
            assert quiet[name] == "1"
        assert quiet["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "1"

    def test_only_the_settings_let_it_download(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        assert environment(vllm())["HF_HUB_OFFLINE"] == "1"
        assert environment(vllm(environment={"HF_HUB_OFFLINE": "0"}))["HF_HUB_OFFLINE"] == "0"

    def test_secrets_of_ours_stay_here(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("TUNEWAY_SECRET_KEY", "s")
        monkeypatch.setenv("VLLM_SKIP_MODEL_NAME_VALIDATION", "1")
        given = environment(vllm())
        assert not any(name.startswith("TUNEWAY_") for name in given)
        assert "VLLM_SKIP_MODEL_NAME_VALIDATION" not in given

    def test_on_a_cpu_it_leaves_memory_and_cores_to_others(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        monkeypatch.setattr(os, "cpu_count", lambda: 8)
        given = environment(vllm())
        assert (given["VLLM_CPU_KVCACHE_SPACE"], given["OMP_NUM_THREADS"]) == ("1", "4")
        assert given["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
        assert not {"VLLM_CPU_KVCACHE_SPACE", "OMP_NUM_THREADS"} & environment(vllm(on_cpu=False)).keys()

    def test_what_the_operator_says_of_them_counts(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("OMP_NUM_THREADS", "7")
        given = environment(vllm(environment={"VLLM_CPU_KVCACHE_SPACE": "20"}))
        assert (given["VLLM_CPU_KVCACHE_SPACE"], given["OMP_NUM_THREADS"]) == ("20", "7")
        assert "VLLM_CPU_KVCACHE_SPACE" not in environment(vllm(gpu_memory_utilization=0.5))


class TestOptionsOf:
    @pytest.mark.parametrize(
        ("asked", "sharing", "sleeps"),
        [(None, "separate", False), (None, "sleep", True), (True, "separate", True), (False, "separate", False)],
    )
    def test_one_that_shares_its_devices_can_sleep(self, asked: bool | None, sharing: str, sleeps: bool):
        settings = Settings(
            engine=EngineSettings(sharing=sharing, api_key=Secret("sk-given")),  # type: ignore[arg-type]
            vllm=VllmSettings(enable_sleep_mode=asked),
        )
        found = options_of(settings)
        assert (found.sleeps, found.api_key) == (sleeps, "sk-given")


class TestFindVllm:
    def test_tells_a_build_for_a_cpu(self, tmp_path: Path):
        for cpu in (True, False):
            where = python(tmp_path, json.dumps({"there": True, "cpu": cpu}))
            assert find_vllm(VllmOptions(VllmSettings(python=where))).on_cpu is cpu

    def test_makes_a_key_of_its_own_unless_there_is_one(self, tmp_path: Path):
        settings = VllmSettings(python=python(tmp_path, '{"there": true, "cpu": true}'))
        made = {find_vllm(VllmOptions(settings)).api_key for _ in range(2)}
        assert len(made) == 2
        assert all(len(key) == 43 for key in made)
        assert find_vllm(VllmOptions(settings, api_key="sk-given")).api_key == "sk-given"

    def test_one_that_is_missing_is_told_with_the_way_to_it(self, tmp_path: Path):
        where = python(tmp_path, '{"there": false, "cpu": false}')
        with pytest.raises(StackError, match=r"vLLM is not installed for .*: pip install 'tuneway\[vllm\]'"):
            find_vllm(VllmOptions(VllmSettings(python=where)))

    def test_a_real_python_is_asked_without_importing_it(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
        (tmp_path / "vllm.py").write_text("raise SystemExit('imported')")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        assert find_vllm(VllmOptions()).python == sys.executable

    @pytest.mark.parametrize(("says", "told"), [("no json", "it says: no json"), ("", "it says: nothing")])
    def test_a_program_that_is_no_python(self, tmp_path: Path, says: str, told: str):
        with pytest.raises(StackError, match=rf"vllm\.python: .* is not Python 3\.11 or newer; {told}\.$"):
            find_vllm(VllmOptions(VllmSettings(python=python(tmp_path, says))))

    def test_a_program_that_is_not_there(self):
        with pytest.raises(StackError, match=r"vllm\.python: /no/such cannot be run: No such file or directory\."):
            find_vllm(VllmOptions(VllmSettings(python="/no/such")))

    def test_shows_no_key(self, tmp_path: Path):
        settings = VllmSettings(python=python(tmp_path, '{"there": true, "cpu": true}'))
        assert "sk-given" not in repr(find_vllm(VllmOptions(settings, api_key="sk-given")))


class TestCause:
    """What vLLM 0.32 wrote when it was made to fail."""

    MEMORY = """\
(EngineCore pid=7) INFO 11-21 09:51:21 [core.py:133] Initializing a V1 LLM engine (v0.32.0) with config: model='m'
(Worker pid=8) ERROR 11-21 09:51:21 [multiproc_executor.py:1063] WorkerProc failed to start.
(Worker pid=8) ERROR 11-21 09:51:21 [multiproc_executor.py:1063]     raise ValueError(
(Worker pid=8) ERROR 11-21 09:51:21 [multiproc_executor.py:1063] ValueError: Available memory on node 0 is less
(Worker pid=8) ERROR 11-21 09:51:21 [multiproc_executor.py:1063] Traceback (most recent call last):
(EngineCore pid=7) ERROR 11-21 09:51:21 [core.py:1510] RuntimeError: Worker failed with error 'Available memory'
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
/lib/resource_tracker.py:254: UserWarning: resource_tracker: There appear to be 1 leaked shared_memory objects
"""
    PYDANTIC = """\
Traceback (most recent call last):
    s.__pydantic_validator__.validate_python(ArgsKwargs(args, kwargs), self_instance=s)
pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig
  Value error, User-specified max_model_len (99999) is greater [type=value_error, input_value=ArgsKwargs((), {'mod]
    For further information visit https://errors.pydantic.dev/2.14/v/value_error
"""
    OPTION = "usage: api_server.py [-h]\n  [model_tag]\napi_server.py: error: unrecognized arguments: --no-such-flag\n"

    def test_is_the_first_error_not_the_last(self):
        assert cause(self.MEMORY) == "  ValueError: Available memory on node 0 is less"

    def test_has_the_lines_that_belong_to_it(self):
        assert cause(self.PYDANTIC) == (
            "  pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n"
            "    Value error, User-specified max_model_len (99999) is greater"
        )

    def test_is_a_wrong_option(self):
        assert cause(self.OPTION) == "  api_server.py: error: unrecognized arguments: --no-such-flag"

    def test_is_unknown_without_an_error(self):
        assert cause("(APIServer pid=5) INFO 11-21 09:46:05 [model.py:733] Resolved architecture\n") is None
