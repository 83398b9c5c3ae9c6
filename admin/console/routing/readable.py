"""What a route does, line by line, for people; and what changed from one revision to the next."""

from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any

from admin.console.routing.split import shares

Line = tuple[str, str]
"""same, added or removed; and the text."""


def lines(spec: Mapping[str, Any]) -> list[str]:
    """What differs from a route that does nothing special."""
    return [*_targets(spec), *_fallbacks(spec), *_manner(spec), *_checks(spec), *_few_shot(spec), *_cache(spec)]


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Line]:
    old, new = lines(before), lines(after)
    found: list[Line] = []
    for kind, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            found += [("same", text) for text in new[c:d]]
        else:
            found += [*(("removed", text) for text in old[a:b]), *(("added", text) for text in new[c:d])]
    return found


def _targets(spec: Mapping[str, Any]) -> Iterator[str]:
    targets = spec.get("targets") or []
    for each, share in zip(targets, shares(targets), strict=True):
        yield f"{share:.4g}% of the calls: {each['model']}"


def _fallbacks(spec: Mapping[str, Any]) -> Iterator[str]:
    for each in spec.get("fallbacks") or []:
        yield f"else: {each['model']} (after {', '.join(each['on']).replace('_', ' ')})"


def _manner(spec: Mapping[str, Any]) -> Iterator[str]:
    if spec.get("sticky"):
        yield f"a client stays at its target, by {spec['sticky']}"
    if spec.get("balance") == "least_load":
        yield "the target with the fewest calls under way is asked"
    retries = spec.get("retries") or {}
    if retries.get("count") is not None:
        yield f"retries of a target: {retries['count']}"
    for name, seconds in (spec.get("timeouts") or {}).items():
        if seconds is not None:
            yield f"time limit, {name.replace('_', ' ')}: {seconds:g} s"
    if spec.get("hedge"):
        yield f"a second target is asked after {spec['hedge']['after_ms']} ms"


def _checks(spec: Mapping[str, Any]) -> Iterator[str]:
    for each in spec.get("checks") or []:
        done = "is withheld" if each.get("mode") == "block" else "is flagged"
        rules = ", ".join(str(rule.get("type")) for rule in each.get("rules") or []) or f"judge {each.get('judge')}"
        yield f"check {each['name']}: an answer that fails ({rules}) {done}"


def _few_shot(spec: Mapping[str, Any]) -> Iterator[str]:
    if shot := spec.get("few_shot"):
        tags = f" tagged {', '.join(shot['tags'])}" if shot.get("tags") else ""
        yield f"up to {shot['count']} similar examples{tags} are shown to the model"


def _cache(spec: Mapping[str, Any]) -> Iterator[str]:
    if cache := spec.get("cache"):
        who = "with temperature 0 " if cache.get("mode") != "opt_in" else "that ask for it "
        yield f"calls {who}that ask the very same get the same answer for {cache.get('ttl_seconds')} s"
