"""What a web page of another origin may call: POST /v1/feedback, from the origins in the settings (Fetch standard, CORS).

No cookie is ever involved: a page sends the key that it was given, which should have the scope api.feedback.write alone.
"""

import re

from gateway.routes.asgi import Scope, header
from gateway.settings import FeedbackSettings

PATH = "/v1/feedback"
ANY = "*"
MAX_AGE = "7200"
"""Seconds for which a browser remembers the answer; none remembers it longer."""
_names = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+(\s*,\s*[A-Za-z0-9!#$%&'*+.^_`|~-]+)*")


def allowed(settings: FeedbackSettings, scope: Scope) -> dict[str, str]:
    """Headers for whatever is answered to a page: also for refusals, which it could not read otherwise."""
    if scope["path"] != PATH or not settings.origins:
        return {}
    origin = (header(scope, b"origin") or b"").decode("latin-1")
    found = {"vary": "origin"}
    if origin and (origin in settings.origins or ANY in settings.origins):
        found["access-control-allow-origin"] = origin
        found["access-control-expose-headers"] = "x-request-id, retry-after"
    return found


def preflight(settings: FeedbackSettings, scope: Scope) -> dict[str, str]:
    """Headers of the answer to a browser that asks whether a page may; empty when this is no such question, or it may not.

    Whatever headers it names are allowed: the SDKs send a dozen of their own.
    """
    if scope["method"] != "OPTIONS" or header(scope, b"access-control-request-method") is None:
        return {}
    found = allowed(settings, scope)
    if "access-control-allow-origin" not in found:
        return {}
    wanted = (header(scope, b"access-control-request-headers") or b"").decode("latin-1")
    return found | {
        "access-control-allow-methods": "POST",
        "access-control-allow-headers": wanted if _names.fullmatch(wanted) else "authorization, content-type",
        "access-control-max-age": MAX_AGE,
    }
