"""Budgets as pages show them: whose each is, and when it will run out."""

import time
from dataclasses import dataclass

from admin.console.api import Json
from admin.console.forecasts import Forecast, forecast
from admin.console.page import Page, project_url

PERIODS = {"day": "a day", "week": "a week", "month": "a month", "total": "in total"}
SOURCES = {
    "spend_limit": "Made as a spend limit of OpenAI's Administration API, and changed there.",
    "spend_alert": "Made as a spend alert of OpenAI's Administration API, and changed there.",
}


@dataclass(frozen=True, slots=True)
class BudgetLine:
    """One budget."""

    budget: Json
    forecast: Forecast
    whose: str
    whose_url: str

    @property
    def url(self) -> str:
        return f"/console/budgets/{self.budget['id']}"

    @property
    def title(self) -> str:
        """Its name, else what it is."""
        return self.budget["name"] or f"{self.whose}, {PERIODS[self.budget['period']]}"

    @property
    def period(self) -> str:
        return PERIODS[self.budget["period"]]

    @property
    def made_elsewhere(self) -> str:
        """Why it is not changed here; empty where it is."""
        return SOURCES.get(self.budget["source"], "")


def lines_of(page: Page, budgets: list[Json]) -> list[BudgetLine]:
    moment = time.time()
    projects = {each["id"]: each["name"] for each in page.projects}
    if page.project:
        projects |= {page.project["id"]: page.project["name"]}
    return [BudgetLine(each, forecast(each, moment), *_whose(each, projects)) for each in budgets]


def _whose(budget: Json, projects: dict[str, str]) -> tuple[str, str]:
    project_id, key_id = budget["project_id"], budget["api_key_id"]
    if key_id:
        return f"Key {budget['api_key_name'] or key_id}", project_url(project_id, "keys", key_id)
    if project_id:
        return f"Project {projects.get(project_id, project_id)}", project_url(project_id, "budgets")
    return "Everybody", ""
