"""Which models exist for a project, and where each is served."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gateway.db.reading import read
from gateway.errors import ModelNotFound
from gateway.kit.clock import unix
from gateway.kit.sealing import Sealer
from gateway.routing.deployment import Deployment
from gateway.routing.upstream import Upstream, extra_headers
from gateway.routing.upstream_book import UpstreamBook
from gateway.settings import EngineSettings, Settings, UpstreamSettings

TUNED = "ft:"
PERMISSIONS = "SELECT model_id, project_id FROM checkpoint_permissions"
MODELS = """
SELECT id, project_id, base_model, kind, adapter_path, problem, created_at, deleted_at FROM models
WHERE deleted_at IS NULL OR id = ANY($1) ORDER BY created_at
"""


class Catalog:
    """Models of the settings and of providers added through the API, plus a mirror of `models` (gateway/db/mirror.py)."""

    name = "models"

    def __init__(self, settings: Settings, book: UpstreamBook | None = None) -> None:
        self._book = book or UpstreamBook(Sealer())
        self.engine = engine_upstream(settings.engine)
        self._given = {deployment.model: deployment for deployment in self._of_settings(settings)}
        self._shared = {name: each for name, each in self._given.items() if not name.startswith(TUNED)}
        """Of `_given`, what belongs to nobody. Whose an `ft:` model is, the database says."""
        self._tuned: dict[str, Deployment] = {}
        self._loads = 0

    @property
    def loads(self) -> int:
        """How often it, or its book, was loaded: as long as that stays, so does what it says."""
        return self._loads + self._book.loads

    def find(self, model: str, project_id: str) -> Deployment:
        """Where `model` is served.

        Raises:
            ModelNotFound: it does not exist, or belongs to another project that gave no permission.
        """
        deployment = self.named(model)
        if deployment is None or not deployment.open_to(project_id):
            raise ModelNotFound(model)
        return deployment

    def named(self, model: str) -> Deployment | None:
        """Where `model` is served, whoever may call it: for administrators."""
        return self._shared.get(model) or self._book.find(model) or self._tuned.get(model)

    def visible_to(self, project_id: str) -> list[Deployment]:
        """Shared models, then the project's own and those it was given a permission for, newest last."""
        added = [each for each in self._book.deployments if each.model not in self._shared]
        tuned = [each for each in self._tuned.values() if each.open_to(project_id)]
        return [*self._shared.values(), *added, *tuned]

    async def load(self, connection: Any) -> None:
        """Swap in every fine-tuned model that was not deleted, and who may call it.

        One that the settings name under an upstream is served there, and stays its project's: an operator runs weights of
        their own so that the engine does not serve. Deleted, it is nobody's. An `ft:` name that was never trained here is a
        provider's own, and everybody's.
        """
        granted: dict[str, set[str]] = {}
        for model_id, project_id in await connection.fetch(PERMISSIONS):
            granted.setdefault(model_id, set()).add(project_id)
        rows = await read(connection, MODELS, list(self._given))
        deployments = (self._of_row(row, granted.get(row.id, ())) for row in rows if row.deleted_at is None)
        self._tuned = {each.model: each for each in deployments if each is not None}
        trained_here = {row.id for row in rows}
        self._shared = {name: each for name, each in self._given.items() if name not in trained_here}
        self._loads += 1

    def _of_row(self, row: Any, granted: Iterable[str]) -> Deployment | None:
        """None where nobody serves it."""
        given = self._given.get(row.id)
        if (upstream := given.upstream if given else self.engine) is None:
            return None
        return Deployment(
            model=row.id,
            upstream=upstream,
            served_name=given.served_name if given else None,
            adapter_path=None if given else row.adapter_path,
            base_model=row.base_model,
            is_adapter=row.kind == "adapter",
            project_id=row.project_id,
            granted=frozenset(granted),
            problem=None if given else row.problem,
            created=unix(row.created_at),
        )

    def _of_settings(self, settings: Settings) -> Iterator[Deployment]:
        if self.engine:
            yield Deployment(settings.engine.model, self.engine, created=_weights_date(settings.engine))
        for configured in settings.upstreams:
            yield from provider_deployments(configured)


def engine_upstream(engine: EngineSettings) -> Upstream | None:
    return Upstream("engine", engine.urls, engine.api_key.reveal(), is_engine=True) if engine.urls else None


def provider_upstream(configured: UpstreamSettings) -> Upstream:
    return Upstream(
        configured.name,
        configured.base_urls,
        configured.api_key.reveal(),
        kind=configured.kind,
        headers=extra_headers(configured.headers, configured.organization, configured.project),
        proxy=configured.proxy,
    )


def provider_deployments(configured: UpstreamSettings) -> list[Deployment]:
    """Of every model of a provider in the settings."""
    upstream = provider_upstream(configured)
    return [Deployment(model, upstream, served_name=configured.served_names.get(model)) for model in configured.models]


def _weights_date(engine: EngineSettings) -> int:
    config = Path(engine.model_path) / "config.json"
    return int(config.stat().st_mtime) if engine.model_path and config.exists() else 0
