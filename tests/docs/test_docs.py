"""What the documents name exists: paths, make targets, settings, decisions, endpoints."""

import re
from pathlib import Path

import pytest
from litestar.handlers import HTTPRouteHandler

from gateway.routes.model_calls import HOT
from gateway.routes.urls import ROUTES
from gateway.settings import load

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "AGENTS.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "docs" / "serving.md",
    *sorted((ROOT / "docs" / "decisions").glob("*.md")),
]
ENDPOINTS = {
    (str(method), re.sub(r"\{[^}]+\}", "{}", path))
    for handler in ROUTES
    if isinstance(handler, HTTPRouteHandler)
    for path in handler.paths
    for method in handler.http_methods
} | {("GET", "/v1/models/{}/export")}
"""The last one is a part of what GET /v1/models/{model:path} answers, since names of models may hold slashes."""
TOP = tuple(f"{path.name}/" for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith("."))


def quoted(document: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", document.read_text())


def is_served(method: str, path: str) -> bool:
    """Parameters may be called otherwise, or written as `rl-{model}`; README names `DELETE /v1/files` without them."""
    own = re.sub(r"[\w*-]*\{[^}]+\}", "{}", path)
    return {(method, own), (method, f"{own}/{{}}")} & ENDPOINTS != set() or (method == "POST" and path in HOT)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
class TestDocuments:
    def test_paths_exist(self, document: Path) -> None:
        named = [text.split(":")[0] for text in quoted(document) if text.startswith(TOP) and " " not in text]
        assert [path for path in named if not (ROOT / path).exists()] == []

    def test_links_exist(self, document: Path) -> None:
        links = re.findall(r"\]\((?!https?:)([^)]+)\)", document.read_text())
        assert [link for link in links if not (document.parent / link).exists()] == []

    def test_make_targets_exist(self, document: Path) -> None:
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        assert set(re.findall(r"`make ([a-z-]+)", document.read_text())) <= targets

    def test_configurations_load(self, document: Path, tmp_path: Path) -> None:
        for block in re.findall(r"```toml\n(.*?)```", document.read_text(), re.DOTALL):
            (tmp_path / "tuneway.toml").write_text(block)
            secrets = dict.fromkeys(re.findall(r'_env = "(\w+)"', block), "secret")
            assert load(tmp_path / "tuneway.toml", secrets) != load(None, {}), block

    def test_endpoints_exist(self, document: Path) -> None:
        named = re.findall(r"\b(GET|POST|DELETE)\s+(/v1/[^\s`?]+)", document.read_text())
        assert [f"{method} {path}" for method, path in named if not is_served(method, path.rstrip(".,;:)"))] == []


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = (folder / "README.md").read_text()
    assert [path.name for path in folder.glob("0*.md") if path.name not in listed] == []


def test_modules_name_decisions_that_exist() -> None:
    for path in (ROOT / "gateway").rglob("*.py"):
        for name in re.findall(r"docs/decisions/[\w.-]+\.md", path.read_text()):
            assert (ROOT / name).exists(), f"{path} names {name}"


def test_the_readmes_configuration_loads(tmp_path: Path) -> None:
    block = re.search(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block is not None
    config = tmp_path / "tuneway.toml"
    config.write_text(block[1])
    settings = load(config, {"OPENAI_API_KEY": "sk-x"})
    assert settings.upstreams[0].models == ("gpt-4o-mini",)
    assert settings.upstreams[0].api_key.reveal() == "sk-x"
    assert settings.prices[0].cached_input == 0.075


def test_the_readmes_endpoints_exist() -> None:
    known = {path for handler in ROUTES for path in handler.paths} | set(HOT)
    known = {re.sub(r"/\{[^}]+\}", "", path) for path in known}
    named = {text.split(" ")[-1] for text in quoted(ROOT / "README.md") if re.search(r"(^|[A-Z] )/[a-z]", text)}
    assert [path for path in named if path not in known and path != "/v1/fine_tuning/jobs"] == []
