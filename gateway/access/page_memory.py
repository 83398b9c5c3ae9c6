"""What was found out about the caller of one page, for all the calls that the page makes within this process.

A page of the console asks the API several times at once. Each of these calls would look up the same session, person and key;
they share what the first of them finds. Calls that change something always look for themselves, and nothing is remembered
from one page to the next. The memory lies in the ASGI scope, which nobody outside of this process can write.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

from gateway.access.csrf import SAFE

T = TypeVar("T")
NAME = "tuneway_page_memory"
"""Of the memory among the `state` of a scope: a dict."""


async def once(scope: Any, method: str, what: Hashable, find: Callable[[], Awaitable[T]]) -> T:
    """What `find` finds, for a call of a page maybe what it found before; raises what it raises."""
    memory = scope.get("state", {}).get(NAME)
    if memory is None or method not in SAFE:
        return await find()
    if what not in memory:
        memory[what] = asyncio.ensure_future(find())
    return await memory[what]
