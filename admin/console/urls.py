"""Every page. This file stays a map."""

from litestar import Router
from litestar.di import Provide

from admin.console.errors import EXCEPTIONS
from admin.console.page import provide_page
from admin.console.pages import chat, keys, overview, projects, sign_in, unknown
from admin.console.security import HEADERS
from admin.console.static_files import static_file

PAGES = [
    sign_in.show_sign_in,
    sign_in.sign_in,
    sign_in.sign_out,
    sign_in.show_first_owner,
    sign_in.make_first_owner,
    overview.start,
    overview.organization,
    overview.project,
    projects.list_projects,
    projects.create_project,
    keys.list_keys,
    keys.create_key,
    keys.rotate_key,
    keys.revoke_key,
    chat.show_chat,
    chat.ask,
    unknown.unknown,
]

CONSOLE = [
    sign_in.root,
    Router(
        path="/console",
        route_handlers=[static_file, *PAGES],
        dependencies={"page": Provide(provide_page)},
        exception_handlers=EXCEPTIONS,
        response_headers=HEADERS,
        include_in_schema=False,
    ),
]
"""For `build_app`."""
