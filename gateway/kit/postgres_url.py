"""Where PostgreSQL is: a URL as SQLAlchemy writes it, as asyncpg wants to be told."""

import re
from typing import Any
from urllib.parse import parse_qsl, unquote

DRIVERS = ("postgresql+asyncpg", "postgresql", "postgres")
NUMBERS = (
    "prepared_statement_cache_size",
    "statement_cache_size",
    "max_cached_statement_lifetime",
    "max_cacheable_statement_size",
)
URL = re.compile(
    r"""
    (?P<driver>[\w+]+)://
    (?: (?P<user>[^:/]*) (?: :(?P<password>[^@]*) )? @ )?
    (?: \[(?P<ipv6>[^/?]+)\] | (?P<host>[^/:?]+) )?
    (?: :(?P<port>\d*) )?
    (?: /(?P<database>[^?]*) )?
    (?: \?(?P<query>.*) )?
    """,
    re.VERBOSE,
)
PLACE = re.compile(r"(?P<host>[A-Za-z0-9.-]*):(?P<port>\d+)")


def connect_arguments(url: str) -> dict[str, Any]:
    """What asyncpg connects with (and SQLAlchemy takes as `connect_args`).

    What stands behind the question mark are arguments of asyncpg: `?ssl=require`, `?statement_cache_size=0`; `host` and `port` there name
    a directory with a socket, or several servers: `?host=one:5432&host=other:5432`.

    Raises ValueError: it is no such URL. The message says nothing of what stands in it.
    """
    found = URL.fullmatch(url)
    if found is None or found["driver"] not in DRIVERS:
        raise ValueError("write it as postgresql+asyncpg://user:password@host:port/database")
    arguments: dict[str, Any] = {name: unquote(found[name]) for name in ("user", "password", "database") if found[name]}
    if host := found["ipv6"] or found["host"]:
        arguments["host"] = host
    if found["port"]:
        arguments["port"] = int(found["port"])
    hosts, ports = [], []
    for name, value in parse_qsl(found["query"] or ""):
        if name == "host":
            hosts += value.split(",")
        elif name == "port":
            ports += value.split(",")
        else:
            arguments[name] = int(value) if name in NUMBERS and value.isdecimal() else value
    return arguments | _places(hosts, ports)


def _places(hosts: list[str], ports: list[str]) -> dict[str, Any]:
    """Of one server or of several."""
    named = [PLACE.fullmatch(each) for each in hosts]
    hosts = [place["host"] if place else host for place, host in zip(named, hosts, strict=True)]
    ports = ports or [place["port"] for place in named if place]
    if not all(port.isdecimal() for port in ports) or (hosts and len(ports) not in (0, 1, len(hosts))):
        raise ValueError("?host= and ?port= behind it: as many ports, all numbers, as hosts")
    numbers = [int(port) for port in ports]
    found: dict[str, Any] = {"host": hosts, "port": numbers}
    return {name: each[0] if len(each) == 1 else each for name, each in found.items() if each}
