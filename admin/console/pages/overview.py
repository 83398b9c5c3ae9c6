"""How things are: of everything, and of one project."""

from collections.abc import Callable
from time import time
from typing import Any
from urllib.parse import urlencode

from litestar import Response, get

from admin.console.api import Json, at_once
from admin.console.page import CurrentPage, Page, project_url
from admin.console.spans import LENGTHS, Span, span_of
from admin.console.traffic_figures import GROUPS, PURPOSES, charts, figures, lines

TABLES = {True: ("model", "api_key_id"), False: ("project_id", "model")}
"""What is told apart in tables, of a project and of everything."""
PLACES = {
    "budget": "budgets",
    "judge": "judges",
    "model": "models",
    "upstream": "providers",
    "project": "",
    "replica": "providers",
    "criterion": "exchanges",
}
"""What an alert is about -> the page where one acts."""


@get("/")
async def start(page: CurrentPage) -> Response[str]:
    """Who works in one project begins there."""
    own = page.user["projects"]["data"]
    is_one = len(own) == 1 and not page.owns_organization
    return page.see_other(f"/console/projects/{own[0]['id']}" if is_one else "/console/overview")


@get("/overview")
async def organization(page: CurrentPage) -> Response[str]:
    return await _show(page)


@get("/projects/{project_id:str}")
async def project(page: CurrentPage) -> Response[str]:
    return await _show(page)


async def _show(page: Page) -> Response[str]:
    """The whole page, or the part of it that is refreshed."""
    span = span_of(page.query("range"), page.query("start"), page.query("end"), time())
    hidden = {"project_id"} if page.project else set[str]()
    group = page.query("group_by") if page.query("group_by") in GROUPS.keys() - hidden else ""
    tables = TABLES[page.project is not None]
    told, before, chosen, first, second, alerts = await at_once(
        _traffic(page, span),
        _traffic(page, span.before, totals_only=True),
        _traffic(page, span, group_by=group, group_limit=6) if group else _none(),
        *(_traffic(page, span, group_by=each, group_limit=10, totals_only=True) for each in tables),
        page.api.get(f"{_base(page)}/alerts"),
    )
    now, earlier = _only(told), _only(before)
    answer = page.show(
        "overview_live.html" if page.is_fragment else "overview.html",
        span=span,
        times=[(name, text) for name, (_, _, text) in LENGTHS.items()],
        group=group,
        groups=[("", "Nothing"), *((name, text) for name, text in GROUPS.items() if name not in hidden)],
        names={each["id"]: each["name"] for each in page.projects},
        figures=figures(now, earlier),
        charts=charts(chosen if group else told, group, _names(page, group)) if now else [],
        complete=told["complete"],
        tables=[
            (GROUPS[name], report["groups"], lines(report, name, _names(page, name), _urls(page, name, span)))
            for name, report in zip(tables, (first, second), strict=True)
        ],
        alerts=[(each, _place(page, each)) for each in alerts["data"]],
        first_call=await _first_call(page) if not now and not earlier else None,
        link=_chart_link(page),
    )
    if page.is_fragment and now and page.query("empty"):
        answer.headers["hx-refresh"] = "true"  # the first call came in: now there are charts to draw
    return answer


async def _none() -> None: ...


async def _traffic(page: Page, span: Span, **more: Any) -> Json:
    return await page.api.get(f"{_base(page)}/traffic", **span.asked, **more)


def _base(page: Page) -> str:
    return f"/organization/projects/{page.project['id']}" if page.project else "/organization"


def _only(report: Json) -> Json | None:
    return report["totals"][0] if report["totals"] else None


def _names(page: Page, group: str) -> Callable[[Json], str]:
    """What a group is called."""
    projects: dict[str, str] = {each["id"]: each["name"] for each in page.projects}

    def name(result: Json) -> str:
        if result[group] is None:
            return "Nobody was asked"
        value: str = result[group]
        if group == "api_key_id":
            return str(result["api_key_name"] or value)
        return PURPOSES.get(value, value) if group == "purpose" else projects.get(value, value)

    return name


def _urls(page: Page, group: str, span: Span) -> Callable[[Json], str | None]:
    """Where a group's calls are."""
    times = {"created_after": span.start, "created_before": span.end}

    def url(result: Json) -> str | None:
        value = result[group]
        if value is None:
            return None
        if page.project:
            return f"{page.within('exchanges')}?{urlencode({group: value} | times)}"
        if group != "project_id":
            return None
        if not span.name:
            return f"{project_url(value, 'exchanges')}?{urlencode(times)}"
        return f"{project_url(value)}?{urlencode({'range': span.name})}"

    return url


def _chart_link(page: Page) -> str:
    """What a point of a chart opens: the exchanges behind it; of all projects, first whose they are."""
    if page.project:
        return f"{page.within('exchanges')}?created_after={{from}}&created_before={{to}}"
    return "/console/overview?start={from}&end={to}"


def _place(page: Page, alert: Json) -> str | None:
    """Where one acts on it."""
    kind, id, project_id = alert["subject_type"], alert["subject_id"], alert["project_id"]
    if kind not in PLACES:
        return None
    if kind in ("budget", "upstream", "replica"):
        return f"/console/{PLACES[kind]}"
    if kind == "criterion":
        judged = {"judged_by": alert["source"], "criterion": alert["criterion"], "passed": "false"}
        wanted = {name: value for name, value in judged.items() if value} | {"created_after": alert["since"]}
        return f"{project_url(project_id, 'exchanges')}?{urlencode(wanted)}"
    if kind == "project":
        times = {"created_after": alert["since"]}
        is_slow = alert["kind"] == "latency"
        wanted = {"min_duration_ms": round(alert["limit"])} if is_slow else {"outcome": "failed"}
        return f"{project_url(id, 'exchanges')}?{urlencode(wanted | times)}"
    return project_url(project_id, PLACES[kind], id)


async def _first_call(page: Page) -> dict[str, str]:
    """What somebody needs who has not called anything yet."""
    models = (await page.api.get("/models"))["data"] if page.project else []
    return {"url": f"{page.origin}/v1/chat/completions", "model": models[0]["id"] if models else "starter"}
