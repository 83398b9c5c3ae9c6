"""What the menu offers."""

from dataclasses import dataclass
from typing import Any

from litestar import Request


@dataclass(frozen=True, slots=True)
class Item:
    text: str
    url: str
    here: bool


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    items: list[Item]


PROJECT = {
    "Traffic": {
        "Overview": "",
        "Exchanges": "exchanges",
        "Keys": "keys",
        "Budgets": "budgets",
        "Chat": "chat",
        "Compare": "compare",
    },
    "Quality": {
        "Review": "review",
        "Judges": "judges",
        "Evals": "evals",
        "Guidance": "guidance",
    },
    "Training": {
        "Datasets": "datasets",
        "Examples": "examples",
        "Fine-tuning": "fine-tuning",
        "Models": "models",
        "Timeline": "timeline",
    },
    "Project": {
        "Members": "people",
        "Retention": "retention",
    },
}
"""Title -> text -> the end of the URL, of pages of a project."""
ORGANIZATION = {
    "Overview": "overview",
    "Projects": "projects",
    "Budgets": "budgets",
    "Routes": "routes",
    "Providers": "providers",
    "Prices": "prices",
    "People": "people",
    "Admin keys": "admin-keys",
    "Webhooks": "webhooks",
    "Audit log": "audit-log",
    "Report": "report",
    "Settings": "settings",
}
OF_OWNERS = {"Settings"}
"""What others may not read."""


def sections(request: Request[Any, Any, Any], project: dict[str, Any] | None, *, owner: bool) -> list[Section]:
    """The menu of a page. Args: owner: of the organisation."""
    path = request.url.path.rstrip("/")
    found: list[Section] = []
    if project is not None:
        base = f"/console/projects/{project['id']}"
        found += [Section(title, _items(base, pages, path)) for title, pages in PROJECT.items()]
    offered = {text: end for text, end in ORGANIZATION.items() if owner or text not in OF_OWNERS}
    return [*found, Section("Organization", _items("/console", offered, path))]


def _items(base: str, pages: dict[str, str], path: str) -> list[Item]:
    return [Item(text, url := f"{base}/{end}".rstrip("/"), _is_here(url, path)) for text, end in pages.items()]


def _is_here(url: str, path: str) -> bool:
    """A project's own URL and the list of projects are the beginning of others, too."""
    exact = url.count("/") == 3 or url == "/console/projects"
    return path == url or (not exact and path.startswith(url + "/"))
