"""What hatch_build.py made."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from admin.console import static_files
from admin.console.static_files import STATIC
from tests.admin.console.browsers import Browser

ROOT = Path(static_files.__file__).parents[2]
MOST_SCRIPT = 200_000
"""Bytes."""


class TestTheBundle:
    def test_is_small(self) -> None:
        assert sum(path.stat().st_size for path in STATIC.glob("*.js")) < MOST_SCRIPT

    def test_names_no_other_origin(self) -> None:
        for path in STATIC.glob("*.*"):
            assert "//cdn" not in path.read_text()
            assert "@import" not in path.read_text()

    def test_has_the_licences_of_what_others_wrote(self) -> None:
        licences = (STATIC / "licences.txt").read_text()
        for name in ("htmx.org", "uplot", "diff"):
            assert f"{name}\n===" in licences

    @pytest.mark.slow
    def test_is_in_the_wheel(self, tmp_path: Path) -> None:
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
        subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
        [wheel] = tmp_path.glob("*.whl")
        names = set(zipfile.ZipFile(wheel).namelist())
        for name in ("console.js", "console.css", "theme.js", "licences.txt"):
            assert f"admin/console/static/{name}" in names
        assert "admin/console/templates/layout.html" in names
        assert not any("node_modules" in name or name.startswith("tests/") for name in names)


@pytest.mark.anyio
class TestServing:
    async def test_is_kept_for_ever_under_its_sum(self, owner: Browser) -> None:
        answer = await owner.client.get(static_files.url("console.js"))
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
        assert "immutable" in answer.headers["cache-control"]
        assert "immutable" not in (await owner.client.get("/console/static/console.js")).headers["cache-control"]

    async def test_nothing_else_is_served(self, owner: Browser) -> None:
        for name in ("nothing.js", "..%2F..%2Fapi.py", "sources.sha256"):
            assert (await owner.client.get(f"/console/static/{name}")).status_code == 404

    async def test_every_page_forbids_what_is_not_ours(self, owner: Browser) -> None:
        for url in ("/console/overview", "/console/nowhere", "/console/sign-in", "/console/static/console.js"):
            policy = (await owner.client.get(url)).headers["content-security-policy"]
            assert "default-src 'none'; script-src 'self'" in policy
            assert "unsafe" not in policy


@pytest.mark.anyio
async def test_a_browser_that_asks_for_an_icon_hears_of_no_error(owner: Browser) -> None:
    assert not (await owner.open("/favicon.ico", 204))
