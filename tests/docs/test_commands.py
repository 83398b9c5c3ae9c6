"""Every `tuneway` command in the documents parses, and those of the pages on keys and money are run on a real gateway."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click
import httpx
import pytest

from deploy.cli import main
from tests.conftest import ADMIN_KEY
from tests.docs.commands import DOCUMENTS, ROOT, blocks, named, of_tuneway
from tests.gateway.conftest import RunningGateway, StartGateway, start_gateway

__all__ = ["start_gateway"]

RUN = ["README.md", *(f"docs/{page}.md" for page in ("keys", "budgets", "prices", "usage", "users", "webhooks"))]
NOT_RUN = ("make ", ".venv/bin/python -m benchmarks")
"""What blocks begin with that take minutes, and have tests of their own."""
SECONDS = 300


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that these arguments call, and what is left for it."""
    command: click.Command = main
    rest = words
    while isinstance(command, click.Group) and rest:
        name, *rest = rest
        found = command.get_command(click.Context(main), name)
        assert found is not None, f"there is no `tuneway {' '.join(words)}`"
        command = found
    return command, rest


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
class TestParse:
    def test_commands(self, document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        for words in of_tuneway(document):
            for word in words:
                if word == "FILE" or word.endswith(".toml"):
                    Path(word).touch()
            command, rest = command_of(words)
            # click keeps the options for help that a command had first: -h is known to the whole of `tuneway`
            whole = click.Context(main, **main.context_settings)
            command.make_context(words[0], rest, parent=whole, default_map={"admin_key": ADMIN_KEY})

    def test_named_commands_have_these_options(self, document: Path) -> None:
        for words in named(document):
            command, rest = command_of(words)
            known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
            assert {word for word in rest if word.startswith("--")} <= known, words


class _Taker(BaseHTTPRequestHandler):
    """Takes every webhook."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def receiver() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Taker) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def gateway(start_gateway: StartGateway) -> RunningGateway:
    return start_gateway(encryption_key="5e" * 32)


@pytest.fixture(scope="module")
def known(gateway: RunningGateway, receiver: str) -> dict[str, str]:
    """What the documents say -> what it is here."""
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    with httpx.Client(base_url=gateway.url, headers=headers, timeout=30) as admin:
        project = admin.post("/v1/organization/projects", json={"name": "shop"}).raise_for_status().json()
        account = admin.post(f"/v1/organization/projects/{project['id']}/service_accounts", json={"name": "till"})
        key = account.raise_for_status().json()["api_key"]
        hook = admin.post("/v1/webhooks", json={"url": receiver, "event_types": ["budget.exhausted"]})
    return {
        ".venv/bin/tuneway": "tuneway",
        "http://127.0.0.1:8000": gateway.url,
        "https://example.com/hook": receiver,
        "sk-admin-...": ADMIN_KEY,
        "sk-svcacct-...": key["value"],
        "key_abc": key["id"],
        "key_...": key["id"],
        "whe_...": hook.raise_for_status().json()["id"],
    }


@pytest.mark.parametrize("name", [name for name in RUN if (ROOT / name).exists()])
def test_commands_run(name: str, gateway: RunningGateway, known: dict[str, str], tmp_path: Path) -> None:
    shown = [block for block in blocks(ROOT / name) if not block.startswith(NOT_RUN)]
    assert shown
    command = tmp_path / "tuneway"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m deploy.cli "$@"\n')
    command.chmod(0o755)
    address = {"URL": gateway.url, "BASE": gateway.url, "ADMIN_KEY": ADMIN_KEY, "TUNEWAY_URL": gateway.url}
    environment = gateway.environment | address | {
        "TUNEWAY_ADMIN_KEY": ADMIN_KEY,
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    script = 'set -euo pipefail\ncurl() { command curl --silent --show-error --fail-with-body "$@"; echo; }\n'
    script += "\n".join(shown)
    for said, meant in known.items():
        script = script.replace(said, meant)
    done = subprocess.run(
        ["bash", "-x"], input=script, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
