"""Whether the rules of a route's checks can be applied."""

from collections.abc import Iterable

import msgspec

from gateway.errors import InvalidRequest
from gateway.protocol.route_rules import Fault
from gateway.protocol.routes import Check
from gateway.routing.route_book import Route
from gateway.settings import SettingsError


def fault(checks: Iterable[Check]) -> Fault | None:
    """The first thing that is wrong with rules; those of a judge were looked at when it was made."""
    for place, check in enumerate(checks):
        if check.judge is None and (wrong := _fault(check, f"checks[{place}].rules")):
            return wrong
    return None


def check_rules(checks: Iterable[Check]) -> None:
    """Raises InvalidRequest."""
    if wrong := fault(checks):
        path, rule = wrong
        raise InvalidRequest(f"Invalid '{path}': {rule}", param=path)


def refuse_faulty(routes: Iterable[Route]) -> None:
    """Raises SettingsError: a route of the settings has rules that make no sense, or names a judge, which belongs to a
    project as that route does not."""
    for route in routes:
        for place, check in enumerate(route.spec.checks):
            if check.judge is not None:
                raise SettingsError(f"route `{route.name}`: checks[{place}].judge: it takes `rules` of its own")
        if wrong := fault(route.spec.checks):
            raise SettingsError(f"route `{route.name}`: {wrong[0]}: {wrong[1]}")


def _fault(check: Check, path: str) -> Fault | None:
    from judges.rules.written import AnyRule, problems  # most gateways have no checks in their settings

    try:
        rules = msgspec.convert(list(check.rules), list[AnyRule])
    except msgspec.ValidationError as error:
        said = str(error)
        where, _, rest = said.partition(" - at `$")
        return f"{path}{rest.rstrip('`')}", f"{where}."
    return next(iter(problems(rules, path)), None)
