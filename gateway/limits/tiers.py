"""Classes of rate limits, from the settings."""

from collections.abc import Mapping

from gateway.limits.limit import KINDS
from gateway.settings import LimitSettings, Settings

Amounts = Mapping[str, int]
"""Field of a limit -> its amount; what is left out is not limited here."""
NONE: Amounts = {}


class Tiers:
    def __init__(self, settings: Settings) -> None:
        self._tiers = {
            tier.name: {None: _amounts(tier)} | {model: _amounts(each) for model, each in tier.models.items()}
            for tier in settings.tiers
        }
        self._default = settings.limits.default_tier

    def __bool__(self) -> bool:
        return bool(self._tiers)

    def __contains__(self, name: str) -> bool:
        return name in self._tiers

    @property
    def names(self) -> list[str]:
        return list(self._tiers)

    def of_key(self, tier: str | None, model: str | None) -> Amounts:
        """What a key's own tier says for one model, or for all together (None)."""
        return self._amounts(tier, model) if tier else NONE

    def of_project(self, tier: str | None, model: str | None) -> Amounts:
        """What a project's tier says; that of the settings for one that has none."""
        return self._amounts(tier if tier in self._tiers else self._default, model)

    def _amounts(self, tier: str | None, model: str | None) -> Amounts:
        """A tier that the settings do not have any more counts as the default one: never as no limit."""
        found = self._tiers.get(tier or "") or self._tiers.get(self._default) or {}
        return found.get(model, NONE)


def _amounts(given: LimitSettings) -> Amounts:
    return {kind.field: amount for kind in KINDS if (amount := getattr(given, kind.field)) is not None}
