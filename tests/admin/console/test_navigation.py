"""What the menu offers."""

import pytest
from litestar import Litestar

from admin.console.navigation import ORGANIZATION, PROJECT
from admin.console.urls import CONSOLE

OF_PROJECTS = [end for pages in PROJECT.values() for end in pages.values()]


@pytest.fixture(scope="module")
def paths() -> set[str]:
    return {route.path for route in Litestar(route_handlers=CONSOLE, openapi_config=None).routes}


class TestTheMenu:
    @pytest.mark.parametrize("end", OF_PROJECTS)
    def test_leads_to_pages_of_a_project(self, paths: set[str], end: str) -> None:
        assert f"/console/projects/{{project_id:str}}/{end}".rstrip("/") in paths

    @pytest.mark.parametrize("end", ORGANIZATION.values())
    def test_leads_to_pages_of_the_organisation(self, paths: set[str], end: str) -> None:
        assert f"/console/{end}" in paths
