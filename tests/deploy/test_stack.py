import json
import os
import re
import signal
import socket
import stat
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy.parts import StackError
from deploy.stack import Model, find_model, make_admin_key
from deploy.vllm import SERVER_ON_CPU
from tests.deploy.support import alive, parts_of, stack

UP = r"Ctrl-C stops everything"
ELSEWHERE: dict[str, Any] = {"database_url": "postgresql+asyncpg://db/tuneway", "redis_url": "redis://cache"}
"""For what does not need the real servers: the stack starts faster without them."""


def pids(data_dir: Path) -> dict[str, int]:
    return {name: status["pid"] for name, status in parts_of(data_dir / "run").items() if status["pid"]}


def environment_of(kind: str, folder: Path) -> dict[str, str]:
    return json.loads((folder / f"{kind}.json").read_text())


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "place"


class TestServe:
    def test_one_sigterm_stops_everything_and_ends_with_0(self, data_dir: Path, tmp_path: Path):
        order = tmp_path / "order"
        with stack(data_dir, environment={"ORDER_FILE": str(order)}, engine="embedded") as running:
            running.wait_for(UP)
            running.wait_for(r"engine +ready")
            started = pids(data_dir)
            assert running.end(signal.SIGTERM) == 0, running.output
        assert list(started) == ["postgres", "redis", "engine", "worker", "gateway"]
        assert not any(alive(pid) for pid in started.values())
        assert order.read_text().split() == ["gateway", "worker", "engine"]
        assert {part["state"] for part in parts_of(data_dir / "run").values()} == {"stopped"}

    def test_ctrl_c_reaches_the_parts_through_the_parent_alone(self, data_dir: Path, tmp_path: Path):
        order = tmp_path / "order"
        with stack(data_dir, environment={"ORDER_FILE": str(order)}, **ELSEWHERE) as running:
            running.wait_for(UP)
            os.killpg(running.popen.pid, signal.SIGINT)
            assert running.end() == 0
        assert order.read_text().split() == ["gateway", "worker"]

    def test_a_second_ctrl_c_hurries(self, data_dir: Path):
        with stack(data_dir, environment={"DEAF": "gateway"}, **ELSEWHERE) as running:
            running.wait_for(UP)
            running.popen.send_signal(signal.SIGINT)
            running.wait_for("Stopping")
            assert running.end(signal.SIGINT) == 0

    def test_a_stop_while_starting_ends_with_0(self, data_dir: Path):
        with stack(data_dir) as running:
            running.wait_for("Tuneway")
            assert running.end(signal.SIGTERM) == 0, running.output

    def test_everything_is_there_again_after_kill_9(self, data_dir: Path):
        with stack(data_dir) as running:
            running.wait_for(UP)
            first = pids(data_dir)
            assert running.end(signal.SIGKILL) == -signal.SIGKILL
        with stack(data_dir) as running:
            running.wait_for(UP)
            assert not any(alive(pid) for pid in first.values())
            assert len(pids(data_dir)) == len(first)

    def test_a_dead_part_is_told_and_started_again(self, data_dir: Path):
        with stack(data_dir, database_url=ELSEWHERE["database_url"]) as running:
            running.wait_for(UP)
            os.kill(pids(data_dir)["redis"], signal.SIGKILL)
            running.wait_for(r"redis +was killed by SIGKILL; starting it again in 0.5 s")
            running.wait_for(r"redis +ready again")


class TestEnvironment:
    def test_every_part_gets_its_settings(self, data_dir: Path, tmp_path: Path):
        config = tmp_path / "config.toml"
        config.write_text("")
        given = {"ENVIRONMENTS": str(tmp_path), "PGPORT": "1", "TUNEWAY_ADMIN_KEY": "sk-admin-given"}
        with stack(
            data_dir, environment=given, engine="embedded", config=str(config), admin_key="sk-admin-given"
        ) as running:
            running.wait_for(UP)
        gateway = environment_of("gateway", tmp_path)
        assert gateway["TUNEWAY_DATABASE__URL"].startswith("postgresql+asyncpg://postgres@/tuneway?host=/")
        assert gateway["TUNEWAY_REDIS__URL"].startswith("unix:///")
        assert gateway["TUNEWAY_DATA_DIR"] == str(data_dir)
        assert gateway["TUNEWAY_SECRET_KEY"] == (data_dir / "secret_key").read_text()
        assert gateway["TUNEWAY_ENCRYPTION_KEY_FILE"] == str(data_dir / "encryption.key")
        assert "--reseal" in environment_of("migrate", tmp_path)["argv"]
        assert gateway["TUNEWAY_CONFIG"] == str(config)
        assert gateway["TUNEWAY_ENGINE__MODEL"] == "starter"
        assert gateway["TUNEWAY_ENGINE__MODEL_PATH"].endswith("/trainer/starter/model")
        engine = environment_of("engine", tmp_path)["argv"]
        assert gateway["TUNEWAY_ENGINE__URL"] == f"http://127.0.0.1:{engine[engine.index('--port') + 1]}/v1"
        assert "--exit-with-parent" in engine
        assert engine[engine.index("--served-model-name") + 1] == "starter"
        assert "PGPORT" not in gateway
        assert environment_of("migrate", tmp_path)["TUNEWAY_ADMIN_KEY"] == "sk-admin-given"
        assert "TUNEWAY_ADMIN_KEY" not in gateway

    def test_an_encryption_key_of_the_operator_takes_the_place_of_ours(self, data_dir: Path, tmp_path: Path):
        with stack(
            data_dir, environment={"ENVIRONMENTS": str(tmp_path)}, keeps_encryption_key=True, **ELSEWHERE
        ) as running:
            running.wait_for(UP)
        assert "TUNEWAY_ENCRYPTION_KEY_FILE" not in environment_of("gateway", tmp_path)
        assert "--reseal" not in environment_of("migrate", tmp_path)["argv"]
        assert not (data_dir / "encryption.key").exists()

    def test_servers_of_the_operator_take_the_place_of_ours(self, data_dir: Path, tmp_path: Path):
        with stack(data_dir, environment={"ENVIRONMENTS": str(tmp_path)}, **ELSEWHERE) as running:
            running.wait_for(UP)
            assert list(pids(data_dir)) == ["worker", "gateway"]
        gateway = environment_of("gateway", tmp_path)
        assert gateway["TUNEWAY_DATABASE__URL"] == ELSEWHERE["database_url"]
        assert gateway["TUNEWAY_REDIS__URL"] == ELSEWHERE["redis_url"]
        assert "TUNEWAY_ENGINE__URL" not in gateway


class TestVllm:
    @pytest.fixture
    def config(self, tmp_path: Path) -> Path:
        """Names a Python in which vLLM is installed, or so it says."""
        python, config = tmp_path / "python", tmp_path / "tuneway.toml"
        python.write_text('#!/bin/sh\necho \'{"there": true, "cpu": true}\'\n')
        python.chmod(0o755)
        config.write_text(f'[vllm]\npython = "{python}"\nmax_loras = 3\n')
        return config

    def test_is_a_part_with_a_key_that_the_others_know(self, data_dir: Path, tmp_path: Path, config: Path):
        given = {"ENVIRONMENTS": str(tmp_path)}
        with stack(data_dir, environment=given, engine="vllm", config=str(config), **ELSEWHERE) as running:
            running.wait_for(UP)
            running.wait_for(r"engine +ready")
        engine, gateway = environment_of("engine", tmp_path), environment_of("gateway", tmp_path)
        argv = engine["argv"]
        assert argv[:4] == ["engine", str(tmp_path / "python"), *SERVER_ON_CPU]
        assert argv[argv.index("--served-model-name") + 1] == "starter"
        assert argv[argv.index("--host") + 1] == "127.0.0.1"
        assert argv[argv.index("--max-loras") + 1] == "3"
        assert gateway["TUNEWAY_ENGINE__URL"] == f"http://127.0.0.1:{argv[argv.index('--port') + 1]}/v1"
        assert (
            gateway["TUNEWAY_ENGINE__API_KEY"]
            == engine["VLLM_API_KEY"]
            == environment_of("worker", tmp_path)["TUNEWAY_ENGINE__API_KEY"]
        )
        assert not [name for name in engine if name.startswith("TUNEWAY_")]

    def test_the_operator_is_told_to_be_patient(self, data_dir: Path, config: Path):
        with stack(data_dir, environment={"SLOW": "engine"}, engine="vllm", config=str(config), **ELSEWHERE) as running:
            running.wait_for(r"Model +starter is loading \(vLLM takes about a minute\); the API is up")

    def test_one_that_is_missing_is_refused(self, data_dir: Path, config: Path):
        (config.parent / "python").write_text('#!/bin/sh\necho \'{"there": false, "cpu": false}\'\n')
        with stack(data_dir, engine="vllm", config=str(config)) as running:
            assert running.end() == 1
        assert running.output.startswith("tuneway: vLLM is not installed for ")
        assert "pip install 'tuneway[vllm]'" in running.output

    def test_one_that_cannot_serve_the_model_is_explained(self, data_dir: Path, config: Path):
        given = {"FAIL": "engine", "REASON": "ValueError: head_dim=16\n(APIServer pid=1) the rest"}
        with stack(data_dir, environment=given, engine="vllm", config=str(config), **ELSEWHERE) as running:
            assert running.end() == 1
        assert "tuneway: The engine part exited with status 1. What" in running.output
        assert running.output.endswith(f"{data_dir}/logs/engine.log says:\n  ValueError: head_dim=16\n")


class TestAdminKey:
    def test_is_shown_at_the_first_start_alone(self, data_dir: Path, tmp_path: Path):
        given = {"ENVIRONMENTS": str(tmp_path)}
        with stack(data_dir, environment=given, **ELSEWHERE) as running:
            key = running.wait_for(r"Admin key +(sk-admin-[\w-]{43})  ").group(1)
            running.wait_for(UP)
        assert environment_of("migrate", tmp_path)["TUNEWAY_ADMIN_KEY"] == key
        kept = [path for path in data_dir.glob("*") if path.is_file()]
        assert not any(key in path.read_text() for path in kept)
        with stack(data_dir, environment=given, **ELSEWHERE) as running:
            running.wait_for(UP)
        assert "sk-admin-" not in running.output
        assert "TUNEWAY_ADMIN_KEY" not in environment_of("migrate", tmp_path)

    def test_is_shown_after_a_first_start_that_failed(self, data_dir: Path):
        with stack(data_dir, environment={"FAIL": "migrate"}, **ELSEWHERE) as running:
            assert running.end() == 1
        with stack(data_dir, **ELSEWHERE) as running:
            running.wait_for(r"Admin key +sk-admin-")

    def test_a_given_key_is_not_shown_and_is_passed_on_each_time(self, data_dir: Path, tmp_path: Path):
        for _ in range(2):
            with stack(
                data_dir, environment={"ENVIRONMENTS": str(tmp_path)}, admin_key="sk-admin-given", **ELSEWHERE
            ) as running:
                running.wait_for(UP)
            assert "sk-admin-" not in running.output
            assert environment_of("migrate", tmp_path)["TUNEWAY_ADMIN_KEY"] == "sk-admin-given"

    def test_is_random(self):
        assert re.fullmatch(r"sk-admin-[\w-]{43}", make_admin_key())
        assert make_admin_key() != make_admin_key()


class TestRefusals:
    """One sentence, a status that is not 0, no traceback, and nothing left running."""

    def test_a_second_stack_on_the_same_directory(self, data_dir: Path):
        with stack(data_dir, **ELSEWHERE) as first:
            url = first.wait_for(r"API +(http://127\.0\.0\.1:\d+)/v1").group(1)
            with stack(data_dir, **ELSEWHERE) as second:
                assert second.end() == 2
            assert f"already runs on {data_dir} (pid {first.popen.pid}, {url})" in second.output
            assert all(alive(pid) for pid in pids(data_dir).values())

    def test_a_port_in_use(self, data_dir: Path):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            with stack(data_dir, port=port) as running:
                assert running.end() == 1
        assert f"Port {port} on 127.0.0.1 is in use" in running.output
        assert not pids(data_dir)

    def test_a_place_that_cannot_be_written(self, tmp_path: Path):
        (tmp_path / "file").write_text("")
        with stack(tmp_path / "file" / "place") as running:
            assert running.end() == 1
        assert running.output == (
            f"tuneway: The data directory {tmp_path}/file/place cannot be written (Not a directory): "
            f"choose another with --data-dir.\n"
        )

    def test_a_failing_part_shows_the_end_of_its_log(self, data_dir: Path):
        with stack(data_dir, environment={"FAIL": "migrate"}, engine="embedded") as running:
            assert running.end() == 1
        said = f"tuneway: The migrations part exited with status 3. The end of {data_dir}/logs/migrations.log:\n  migrate ends with status 3\n"
        assert said in running.output
        assert "Traceback" not in running.output
        assert not pids(data_dir)
        assert not [process for process in psutil.process_iter() if _runs_in(process, data_dir)]

    def test_an_engine_that_cannot_load_its_model(self, data_dir: Path):
        with stack(data_dir, environment={"FAIL": "engine"}, engine="embedded", **ELSEWHERE) as running:
            assert running.end() == 1
        assert "tuneway: The engine part exited with status 1. The end of" in running.output
        assert "engine was told to fail" in running.output

    def test_a_model_that_does_not_exist(self, data_dir: Path):
        with stack(data_dir, engine="embedded", model="./no/such/model") as running:
            assert running.end() == 1
        assert running.output.startswith("tuneway: There is no model at ./no/such/model")

    def test_a_missing_package(self, data_dir: Path):
        with stack(data_dir, engine="embedded", engine_needs=["no_such_package"]) as running:
            assert running.end() == 1
        assert "needs no_such_package: pip install 'tuneway[train]', or start with --engine none." in running.output


class TestFindModel:
    def test_a_directory_is_called_by_its_last_part(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        (tmp_path / "model").mkdir()
        monkeypatch.chdir(tmp_path)
        assert find_model("model", ()) == Model("model", str(tmp_path / "model"))

    def test_an_id_stays_as_it_is(self):
        assert find_model("Qwen/Qwen3-0.6B", ()) == Model("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B")

    def test_a_file_is_refused(self, tmp_path: Path):
        (tmp_path / "model").write_text("")
        with pytest.raises(StackError, match="There is no model at"):
            find_model(str(tmp_path / "model"), ())


class TestDataDir:
    def test_secrets_are_closed_to_others(self, data_dir: Path):
        with stack(data_dir, **ELSEWHERE) as running:
            running.wait_for(UP)
        assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
        assert stat.S_IMODE((data_dir / "secret_key").stat().st_mode) == 0o600


def _runs_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.cwd().startswith(str(folder))
    except psutil.Error:
        return False
