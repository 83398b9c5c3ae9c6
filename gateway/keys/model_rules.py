"""Which models a key may call: what its own list and its project's permissions say."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gateway.errors import InvalidRequest

ANY_END = "*"


@dataclass(frozen=True, slots=True)
class ModelNames:
    """Names of models, routes and aliases, as clients send them; one that ends with `*` stands for all that begin so."""

    exact: frozenset[str]
    beginnings: tuple[str, ...]

    def __contains__(self, name: str) -> bool:
        return name in self.exact or name.startswith(self.beginnings)


def model_names(written: Iterable[str]) -> ModelNames:
    exact, beginnings = set[str](), list[str]()
    for name in written:
        if name.endswith(ANY_END):
            beginnings.append(name.removesuffix(ANY_END))
        else:
            exact.add(name)
    return ModelNames(frozenset(exact), tuple(beginnings))


@dataclass(frozen=True, slots=True)
class ModelRules:
    """Allow lists are about the names that clients send: a route or an alias is allowed by its own name, whatever answers
    it. A deny list is about the models that answer, too: no route, alias or fallback leads around it.
    """

    allowed: tuple[ModelNames, ...]
    """A name must be in each."""
    denied: ModelNames | None

    def may_call(self, name: str) -> bool:
        return all(name in names for names in self.allowed) and not self._denies(name)

    def may_serve(self, model: str) -> bool:
        """Whether a model may answer a call of a name that is allowed."""
        return not self._denies(model)

    def _denies(self, name: str) -> bool:
        return self.denied is not None and name in self.denied


def model_rules(allowed_models: list[str] | None, permissions: dict[str, Any] | None) -> ModelRules | None:
    """The rules of a key; None when there are none.

    Args:
        allowed_models: the key's own list.
        permissions: the project's, in OpenAI's shape: {"mode": "allow_list" | "deny_list", "model_ids": [...]}.
    """
    if allowed_models is None and permissions is None:
        return None
    lists = [] if allowed_models is None else [model_names(allowed_models)]
    named = model_names(permissions["model_ids"]) if permissions else None
    if permissions and named is not None and permissions["mode"] == "allow_list":
        return ModelRules((*lists, named), None)
    return ModelRules(tuple(lists), named)


def check_model_names(param: str, names: Iterable[str]) -> None:
    """Raises InvalidRequest on a `*` that is not the last letter: it would match nothing, in silence."""
    for name in names:
        if ANY_END in name[:-1]:
            raise InvalidRequest(
                f"Invalid '{param}': '{name[:100]}' has a * that is not at its end; `ft:base:*` stands for all that begin so.",
                param=param,
            )
