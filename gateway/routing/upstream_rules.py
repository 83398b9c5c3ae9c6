"""What may be written about a provider: URLs, names of models, headers, a proxy. No message repeats a secret."""

import re
from collections.abc import Iterable, Mapping
from urllib.parse import SplitResult, urlsplit, urlunsplit

from gateway.errors import InvalidRequest
from gateway.kit.addresses import is_metadata
from gateway.protocol.models import RESERVED
from gateway.protocol.upstreams import ServedModel

LONGEST_NAME, LONGEST_URL, LONGEST_VALUE = 256, 2000, 8192
MOST_URLS, MOST_MODELS, MOST_HEADERS = 64, 2000, 64
SCHEMES = ("http", "https")

_unprintable = re.compile(r"[\x00-\x1f\x7f]")
_token = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_visible = re.compile(r"[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?")
"""RFC 9110, sections 5.6.2 and 5.5: the name of a field, and a value that every server reads alike."""

CONNECTION_HEADERS = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
     "transfer-encoding", "upgrade", "host", "content-length", "content-type", "content-encoding", "accept-encoding",
     "expect", "x-request-id"}
)  # fmt: skip
"""They belong to one connection or one body (RFC 9110, section 7.6.1), and this gateway writes them itself."""
SECRET_HEADERS = frozenset({"authorization", "x-api-key", "api-key", "cookie"})


def check_name(name: str) -> str:
    """A provider's name. Raises InvalidRequest."""
    return _text(name, "name", LONGEST_NAME)


def check_urls(urls: list[str], param: str) -> list[str]:
    """Base URLs without a slash at the end. Raises InvalidRequest."""
    if not urls:
        raise InvalidRequest(f"Invalid '{param}': at least one base URL is needed.", param=param)
    if len(urls) > MOST_URLS:
        raise InvalidRequest(f"Invalid '{param}': at most {MOST_URLS} base URLs are taken.", param=param)
    several = param == "base_urls"
    checked = [_base_url(url, f"{param}[{index}]" if several else param) for index, url in enumerate(urls)]
    _refuse_repeats(checked, param)
    return checked


def check_models(models: list[str | ServedModel]) -> list[str | dict[str, str]]:
    """Models as they are stored. Raises InvalidRequest."""
    if len(models) > MOST_MODELS:
        raise InvalidRequest(f"Invalid 'models': at most {MOST_MODELS} are taken.", param="models")
    for index, each in enumerate(models):
        if isinstance(each, ServedModel):
            _model(each.model, f"models[{index}].model")
            _text(each.served_name, f"models[{index}].served_name", LONGEST_NAME)
        else:
            _model(each, f"models[{index}]")
    _refuse_repeats([each.model if isinstance(each, ServedModel) else each for each in models], "models")
    return [
        {"model": each.model, "served_name": each.served_name} if isinstance(each, ServedModel) else each
        for each in models
    ]


def check_headers(headers: Mapping[str, str], *, secret: bool) -> dict[str, str]:
    """Headers that go with every call. Raises InvalidRequest, which names a header and never shows its value."""
    param = "secret_headers" if secret else "headers"
    if len(headers) > MOST_HEADERS:
        raise InvalidRequest(f"Invalid '{param}': at most {MOST_HEADERS} are taken.", param=param)
    for name, value in headers.items():
        if not _token.fullmatch(name) or len(name) > LONGEST_NAME:
            raise InvalidRequest(
                f"Invalid '{param}': the name of a header has letters, digits and hyphens only.", param=param
            )
        if name.lower() in CONNECTION_HEADERS:
            raise InvalidRequest(
                f"Invalid '{param}': `{name}` belongs to the connection and is written by the gateway.", param=param
            )
        if not secret and name.lower() in SECRET_HEADERS:
            raise InvalidRequest(
                f"Invalid 'headers': `{name}` is a secret; use api_key, or secret_headers, which are stored sealed.",
                param=param,
            )
        check_value(value, f"{param}.{name}")
    _refuse_repeats([name.lower() for name in headers], param)
    return dict(headers)


def check_together(headers: Iterable[str], secret_headers: Iterable[str], *, has_key: bool) -> None:
    """What the fields mean beside each other. Raises InvalidRequest."""
    secret = {name.lower() for name in secret_headers}
    if both := sorted(secret & {name.lower() for name in headers}):
        raise InvalidRequest(
            f"Invalid 'secret_headers': `{both[0]}` is in headers, too; give it once.", param="secret_headers"
        )
    if has_key and "authorization" in secret:
        raise InvalidRequest(
            "Invalid 'secret_headers': `authorization` is made of api_key; give one of them.", param="secret_headers"
        )


def check_value(value: str, param: str) -> str:
    """What is sent in a header: a key, an organisation. Raises InvalidRequest, which never shows it."""
    if len(value) > LONGEST_VALUE:
        raise InvalidRequest(f"Invalid '{param}': at most {LONGEST_VALUE} characters are taken.", param=param)
    if not _visible.fullmatch(value):
        raise InvalidRequest(
            f"Invalid '{param}': a header carries ASCII characters only, with no line break and no space at either end,"
            " and at least one.",
            param=param,
        )
    return value


def check_proxy(proxy: str) -> tuple[str, bool]:
    """The proxy's URL without user and password, and whether it had them. Raises InvalidRequest."""
    parts = _split(proxy, "proxy")
    if parts.path not in ("", "/"):
        raise InvalidRequest("Invalid 'proxy': a proxy has no path: `http://host:port`.", param="proxy")
    return without_credentials(proxy), "@" in parts.netloc


def without_credentials(url: str) -> str:
    """A URL as it may be shown."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _base_url(url: str, param: str) -> str:
    parts = _split(url, param)
    if "@" in parts.netloc:
        raise InvalidRequest(
            f"Invalid '{param}': a URL is not secret; leave user and password out and use api_key or secret_headers.",
            param=param,
        )
    plain = url.rstrip("/")
    for ending in ("/chat/completions", "/completions", "/messages", "/models"):
        if plain.endswith(ending):
            raise InvalidRequest(
                f"Invalid '{param}': it ends before `{ending}`, usually in /v1; each call adds its own path.",
                param=param,
            )
    return plain


def _split(url: str, param: str) -> SplitResult:
    """A URL in its parts: http or https, a host, a port that can be, and nothing behind the path."""
    if not url or len(url) > LONGEST_URL or re.search(r"[\x00-\x20\x7f\\]", url):
        raise InvalidRequest(
            f"Invalid '{param}': a URL without spaces, of at most {LONGEST_URL} characters, is needed.", param=param
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise InvalidRequest(f"Invalid '{param}': its host or port is not one.", param=param) from None
    if parts.scheme not in SCHEMES:
        raise InvalidRequest(f"Invalid '{param}': it begins with https:// or http://.", param=param)
    if not host or port == 0:
        raise InvalidRequest(f"Invalid '{param}': a host is missing, or its port is 0.", param=param)
    if "?" in url or "#" in url:
        raise InvalidRequest(f"Invalid '{param}': a query or fragment (`?`, `#`) cannot be in it.", param=param)
    if is_metadata(host):
        raise InvalidRequest(
            f"Invalid '{param}': this address hands out the credentials of the machine that the gateway runs on (the"
            " metadata service of clouds); no provider is there.",
            param=param,
        )
    return parts


def _model(name: str, param: str) -> None:
    _text(name, param, LONGEST_NAME)
    if name.startswith("ft:"):
        raise InvalidRequest(
            f"Invalid '{param}': names that begin with `ft:` belong to the models that are trained here. Give it another:"
            ' {"model": "...", "served_name": "ft:..."}.',
            param=param,
        )
    if name in RESERVED:
        raise InvalidRequest(
            f"Invalid '{param}': /v1/models/{name} is something else. Give it another name:"
            f' {{"model": "...", "served_name": "{name}"}}.',
            param=param,
        )


def _text(value: str, param: str, longest: int) -> str:
    if not value or value != value.strip() or _unprintable.search(value) or len(value) > longest:
        raise InvalidRequest(
            f"Invalid '{param}': 1 to {longest} characters are needed, without spaces at the ends or control characters.",
            param=param,
        )
    return value


def _refuse_repeats(names: list[str], param: str) -> None:
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidRequest(f"Invalid '{param}': `{repeated[0]}` is named twice.", param=param)
