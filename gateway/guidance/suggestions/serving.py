"""Providers that fail, and bounds that refuse calls."""

from collections.abc import Iterator

from gateway.guidance.material import Material, Route
from gateway.guidance.suggestions.wording import share
from gateway.protocol.guidance import Cluster, Suggestion

BOUNDS = {
    "insufficient_quota": ("A larger budget, or a cheaper model", "The budget does not pay for these calls."),
    "budget_reserved": ("A larger budget, or fewer calls at a time", "Calls under way reserve the rest of the budget."),
    "rate_limit_exceeded": ("A higher rate limit, or calls spread over time", "Too much is asked at a time."),
}
TIMEOUTS = ("timeout", "upstream_timeout")
LIMITED = ("rate_limit", "rate_limit_exceeded")
TOO_LONG = ("context_length", "context_length_exceeded")
BROKEN = ("server_error", "connection", "not_loaded", "upstream_failed", "service_unavailable", "model_loading",
          "model_unavailable")  # fmt: skip


def suggestions(cluster: Cluster, material: Material) -> Iterator[Suggestion]:
    code = cluster.subject.code
    if cluster.kind not in ("call", "fallback") or code is None:
        return
    why = f"It happens to {share(cluster.failing)} of the calls."
    if code in BOUNDS and cluster.subject.outcome == "refused":  # a provider that is out of quota fails
        title, reason = BOUNDS[code]
        yield Suggestion(
            kind="budget", title=title, why=f"{reason} {why}", do="Look at what binds the keys that call most."
        )
        return
    found = _of_provider(code)
    if found is not None:
        title, do = found
        yield Suggestion(
            kind="provider",
            title=title,
            why=why,
            do=do + _fallback(cluster, material),
            parameters=_where(cluster, material),
        )


def _of_provider(code: str) -> tuple[str, str] | None:
    if code in TIMEOUTS:
        return (
            "A provider is too slow",
            "Give it a longer timeout, ask for shorter answers, or ask another one in parallel (hedge).",
        )
    if code in LIMITED:
        return "A provider limits the rate", "Share the traffic among several providers, or have its limit raised."
    if code in TOO_LONG:
        return (
            "Calls are longer than the model takes",
            "Shorten conversations, or fall back to a model with a longer context.",
        )
    if code in BROKEN or code.startswith("status 5"):
        return (
            "A provider fails",
            "Test it on its page; its breaker keeps calls away from it while it fails again and again.",
        )
    return None


def _fallback(cluster: Cluster, material: Material) -> str:
    """Where the route of most failures has none."""
    route = _route(cluster, material)
    return f" The route {route.name} has no fallback: name one." if route is not None and not route.fallbacks else ""


def _route(cluster: Cluster, material: Material) -> Route | None:
    name = (cluster.routes[0].value or "").partition("@")[0] if cluster.routes else ""
    return next((each for each in material.routes if each.name == name), None)


def _where(cluster: Cluster, material: Material) -> dict[str, str]:
    route = _route(cluster, material)
    model = cluster.subject.model or (cluster.models[0].value if cluster.models else None)
    found = {"route": route.name, "route_id": route.id} if route is not None else {}
    return found | ({"model": model} if model else {})
