"""What may be written about a webhook. An administrator may send where they want, into the own network, too."""

import re
from urllib.parse import urlsplit

from gateway.errors import ECHO_LIMIT, InvalidRequest
from gateway.kit.addresses import is_metadata
from gateway.protocol.webhooks import EVENT_TYPES

LONGEST_URL, LONGEST_NAME = 2000, 256
SCHEMES = ("http", "https")


def check_url(url: str) -> str:
    """An http or https URL without user and password. Raises InvalidRequest, which does not repeat it."""
    if not url or len(url) > LONGEST_URL or re.search(r"[\x00-\x20\x7f\\]", url):
        raise _refused("url", f"a URL without spaces, of at most {LONGEST_URL} characters, is needed.")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _refused("url", "its host or port is not one.") from None
    if parts.scheme not in SCHEMES:
        raise _refused("url", "it begins with https:// or http://.")
    if not host or port == 0:
        raise _refused("url", "a host is missing, or its port is 0.")
    if "@" in parts.netloc:
        raise _refused("url", "leave user and password out: every delivery is signed instead.")
    if parts.fragment:
        raise _refused("url", "a fragment (`#`) is never sent.")
    if is_metadata(host):
        raise _refused("url", "this address hands out the credentials of a machine (the metadata service of clouds).")
    return url


def check_event_types(types: list[str]) -> list[str]:
    """Each once, in their order. Raises InvalidRequest."""
    if not types:
        raise _refused("event_types", "at least one is needed.")
    for index, each in enumerate(types):
        check_event_type(each, f"event_types[{index}]")
    return list(dict.fromkeys(types))


def check_event_type(name: str, param: str) -> str:
    """Raises InvalidRequest."""
    if name not in EVENT_TYPES:
        sent = ", ".join(EVENT_TYPES)
        raise _refused(param, f"'{name[:ECHO_LIMIT]}' is no event of this gateway; it sends {sent}.")
    return name


def check_name(name: str) -> str:
    """Raises InvalidRequest."""
    if not name.strip() or len(name) > LONGEST_NAME or re.search(r"[\x00-\x1f\x7f]", name):
        raise _refused("name", f"a name has 1 to {LONGEST_NAME} printable characters.")
    return name


def host_of(url: str) -> str:
    """What may be shown of a URL: those of chat services are secrets themselves."""
    return urlsplit(url).netloc


def origin_of(url: str) -> str:
    """Scheme and host, which tell nothing either."""
    return f"{urlsplit(url).scheme}://{host_of(url)}/"


def _refused(param: str, rule: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid '{param}': {rule}", param=param)
