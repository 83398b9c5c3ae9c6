"""What a route must keep to beyond its types; the same for POST /v1/routes and [[routes]] of the settings."""

import re
from collections.abc import Iterator

from gateway.errors import ECHO_LIMIT, InvalidRequest
from gateway.protocol.models import RESERVED
from gateway.protocol.routes import Check, FewShot, RouteCache, RouteSpec

MAX_TARGETS = 50
MAX_FALLBACKS = 20
MAX_NAME = 256
MAX_WEIGHT = 1e9
MAX_RETRIES = 10
MAX_BACKOFF_MS = 600_000
MAX_FAILURES = 1_000_000
MAX_SECONDS = 86_400.0
MAX_METADATA_KEY = 64
"""OpenAI's limit for the keys of a call's metadata."""
MAX_CHECKS = 10
MAX_RULES = 30
MAX_SHOTS, MAX_SHOT_TOKENS, MAX_TAGS = 20, 100_000, 20
MIN_CHECK_MS, MAX_CHECK_MS = 10, 10_000
MAX_CACHE_SECONDS = 7 * 86_400
TUNED = "ft:"
_check_name = re.compile(r"[A-Za-z0-9_.-]{1,48}")

Fault = tuple[str, str]
"""A JSON path (`targets[0].weight`), and what is wrong there."""


def check_name(name: str) -> None:
    """Raises InvalidRequest."""
    if rule := name_fault(name):
        raise InvalidRequest(f"Invalid 'name': {rule}", param="name")


def check_spec(spec: RouteSpec) -> None:
    """Raises InvalidRequest: the first fault; `param` is its path."""
    for param, rule in faults(spec):
        raise InvalidRequest(f"Invalid '{param}': {rule}", param=param)


def name_fault(name: str) -> str | None:
    """What is wrong with the name of a route.

    It may be the name of a model: then calls of that name take the route, which is how a model is put behind one without
    a change in its clients. Names of fine-tuned models are left alone: they stand for one training, for ever.
    """
    if not 1 <= len(name) <= MAX_NAME:
        return f"a name has 1 to {MAX_NAME} characters, not {len(name)}."
    if not name.isprintable() or any(character.isspace() for character in name):
        return "a name has no spaces and no invisible characters."
    if name.startswith(TUNED):
        return f"names that begin with `{TUNED}` belong to fine-tuned models."
    return f"/v1/models/{name} is something else: give it another name." if name in RESERVED else None


def faults(spec: RouteSpec) -> Iterator[Fault]:
    """Everything that is wrong with a spec, in the order of its fields; that the models exist is checked elsewhere."""
    yield from _targets(spec)
    yield from _fallbacks(spec)
    yield from _sticky(spec.sticky)
    yield from _retries(spec)
    yield from _seconds(spec)
    yield from _hedge(spec)
    yield from _checks(spec)
    if spec.few_shot is not None:
        yield from ((f"few_shot.{name}", rule) for name, rule in _few_shot(spec.few_shot))
    if spec.cache is not None and (rule := cache_fault(spec.cache)):
        yield "cache.ttl_seconds", rule


def _targets(spec: RouteSpec) -> Iterator[Fault]:
    if not 1 <= len(spec.targets) <= MAX_TARGETS:
        yield "targets", f"a route has 1 to {MAX_TARGETS} targets, not {len(spec.targets)}."
    yield from _models("targets", [target.model for target in spec.targets], "add its weights up")
    for place, target in enumerate(spec.targets):
        if not 0 <= target.weight <= MAX_WEIGHT:  # not a number is neither
            yield f"targets[{place}].weight", f"a weight is a number from 0 to {MAX_WEIGHT:.0f}, not {target.weight}."
    if spec.targets and not any(target.weight for target in spec.targets):
        yield "targets", "all weights are 0: one target at least needs a weight."


def _fallbacks(spec: RouteSpec) -> Iterator[Fault]:
    if len(spec.fallbacks) > MAX_FALLBACKS:
        yield "fallbacks", f"a route has at most {MAX_FALLBACKS} fallbacks, not {len(spec.fallbacks)}."
    yield from _models("fallbacks", [fallback.model for fallback in spec.fallbacks], "put its conditions together")
    for place, fallback in enumerate(spec.fallbacks):
        if not fallback.on:
            yield f"fallbacks[{place}].on", "without a condition it never answers; leave `on` out for every condition."
        elif len(set(fallback.on)) < len(fallback.on):
            yield f"fallbacks[{place}].on", "a condition is there twice."


def _models(path: str, models: list[str], remedy: str) -> Iterator[Fault]:
    for place, model in enumerate(models):
        if not model:
            yield f"{path}[{place}].model", "a model has a name."
        elif model in models[:place]:
            yield f"{path}[{place}].model", f"`{model}` is there already, at {path}[{models.index(model)}]; {remedy}."


def _sticky(sticky: str | None) -> Iterator[Fault]:
    if sticky in (None, "user", "conversation"):
        return
    kind, _, key = sticky.partition(".")
    if kind != "metadata" or not 1 <= len(key) <= MAX_METADATA_KEY:
        rule = f"it is `user`, `conversation` or `metadata.KEY`, with a key of at most {MAX_METADATA_KEY} characters"
        yield "sticky", f"{rule}, not `{sticky[:ECHO_LIMIT]}`."


def _retries(spec: RouteSpec) -> Iterator[Fault]:
    retries = spec.retries
    if not 0 <= retries.count <= MAX_RETRIES:
        yield "retries.count", f"it is 0 to {MAX_RETRIES}, not {retries.count}."
    if not 0 <= retries.backoff_ms <= MAX_BACKOFF_MS:
        yield "retries.backoff_ms", f"it is 0 to {MAX_BACKOFF_MS} milliseconds, not {retries.backoff_ms}."
    if not retries.backoff_ms <= retries.max_backoff_ms <= MAX_BACKOFF_MS:
        rule = f"it is at least backoff_ms ({retries.backoff_ms}) and at most {MAX_BACKOFF_MS} milliseconds"
        yield "retries.max_backoff_ms", f"{rule}, not {retries.max_backoff_ms}."


def _seconds(spec: RouteSpec) -> Iterator[Fault]:
    for name in spec.timeouts.__struct_fields__:
        seconds = getattr(spec.timeouts, name)
        if seconds is not None and not 0 < seconds <= MAX_SECONDS:
            yield f"timeouts.{name}", f"it is more than 0 and at most {MAX_SECONDS:.0f} seconds, not {seconds}."
    if not 0 <= spec.breaker.failures <= MAX_FAILURES:
        yield "breaker.failures", f"it is 0 (never) to {MAX_FAILURES}, not {spec.breaker.failures}."
    seconds = spec.breaker.open_seconds
    if not 0 < seconds <= MAX_SECONDS:
        yield "breaker.open_seconds", f"it is more than 0 and at most {MAX_SECONDS:.0f} seconds, not {seconds}."


def _hedge(spec: RouteSpec) -> Iterator[Fault]:
    if spec.hedge is None:
        return
    if not 1 <= spec.hedge.after_ms <= MAX_SECONDS * 1000:
        yield "hedge.after_ms", f"it is 1 to {MAX_SECONDS * 1000:.0f} milliseconds, not {spec.hedge.after_ms}."
    asked = {target.model for target in spec.targets} | {fallback.model for fallback in spec.fallbacks}
    if len(asked) < 2:
        yield "hedge", "it needs a second model to ask: another target, or a fallback."


def _checks(spec: RouteSpec) -> Iterator[Fault]:
    """What their rules must keep to is known elsewhere (gateway/routing/route_checks.py)."""
    if len(spec.checks) > MAX_CHECKS:
        yield "checks", f"a route has at most {MAX_CHECKS} checks, not {len(spec.checks)}."
    names = [check.name for check in spec.checks]
    for place, check in enumerate(spec.checks):
        if check.name in names[:place]:
            yield f"checks[{place}].name", f"`{check.name}` is there already; flags could not be told apart."
        yield from ((f"checks[{place}].{name}", rule) for name, rule in _check(check))


def _check(check: Check) -> Iterator[Fault]:
    if not _check_name.fullmatch(check.name):
        yield "name", "1 to 48 letters, digits, '_', '.' and '-'."
    if check.judge is None and not 1 <= len(check.rules) <= MAX_RULES:
        yield "rules", f"it has 1 to {MAX_RULES} rules, or names a judge that has them, not {len(check.rules)}."
    if check.judge is not None and check.rules and check.judge_version_id is None:
        yield "judge", "its rules are taken: leave `rules` out, or `judge`."
    if check.judge is None and check.judge_version_id is not None:
        yield "judge_version_id", "it is filled in where `judge` names a judge."
    if not MIN_CHECK_MS <= check.timeout_ms <= MAX_CHECK_MS:
        yield "timeout_ms", f"it is {MIN_CHECK_MS} to {MAX_CHECK_MS} milliseconds, not {check.timeout_ms}."


def _few_shot(wanted: FewShot) -> Iterator[Fault]:
    if not 1 <= wanted.count <= MAX_SHOTS:
        yield "count", f"it is 1 to {MAX_SHOTS}, not {wanted.count}; null shows no examples."
    if not 1 <= wanted.max_tokens <= MAX_SHOT_TOKENS:
        yield "max_tokens", f"it is 1 to {MAX_SHOT_TOKENS:,}, not {wanted.max_tokens}."
    if wanted.min_score is not None and not 0 <= wanted.min_score <= 1:
        yield "min_score", f"a score is between 0 and 1, not {wanted.min_score}."
    if len(wanted.tags) > MAX_TAGS or not all(wanted.tags):
        yield "tags", f"at most {MAX_TAGS}, and none is empty."


def cache_fault(wanted: RouteCache) -> str | None:
    if 1 <= wanted.ttl_seconds <= MAX_CACHE_SECONDS:
        return None
    return (
        f"it is 1 to {MAX_CACHE_SECONDS:,} seconds (a week), not {wanted.ttl_seconds}; `cache` null keeps no answers."
    )
