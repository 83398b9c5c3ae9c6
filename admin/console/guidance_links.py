"""Where a cluster's failures are listed, and to which form, filled in, a suggestion leads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from admin.console.api import Json
from admin.console.page import Page

Parameters = Mapping[str, str]
MOST_RULES = 4000
"""Characters of rules in an address."""


@dataclass(frozen=True, slots=True)
class Link:
    text: str
    url: str


def failures(page: Page, cluster: Json, filters: Parameters) -> Link | None:
    """The log, or the run, filtered down to them; None where no filter says it (tags, reasons to end).

    Args: filters: of the page, which the log has by the same names.
    """
    subject = cluster["subject"]
    if cluster["kind"] in ("eval", "flip"):
        return Link("The run", page.within("evals", subject["eval_id"], "runs", subject["run_id"]) + "?status=fail")
    query = _query(cluster)
    return Link("All in the log", f"{page.within('exchanges')}?{urlencode({**query, **filters})}") if query else None


def _query(cluster: Json) -> dict[str, str]:
    subject = cluster["subject"]
    if cluster["kind"] == "judgment":
        return {"judged_by": subject["source"], "passed": "false", "criterion": subject["criterion"]}
    if cluster["kind"] == "call" and not subject["code"].startswith("status "):
        return {"outcome": subject["outcome"], "error_code": subject["code"]}
    if cluster["kind"] == "call":
        return {"outcome": subject["outcome"], "status": subject["code"].removeprefix("status ")}
    return {}


def example(page: Page, found: Json) -> str:
    if found["exchange_id"]:
        return page.within("exchanges", found["exchange_id"])
    return page.within("evals", found["eval_id"], "runs", found["run_id"], "items", found["output_item_id"])


def links(page: Page, suggestion: Json) -> list[Link]:
    """Buttons; only what the person may do."""
    made = MAKERS.get(suggestion["kind"])
    return [each for each in made(page, suggestion["parameters"]) if each is not None] if made else []


def _more_data(page: Page, wanted: Parameters) -> list[Link | None]:
    if not page.may_write:
        return []
    source = {"routes": wanted.get("route"), "metadata": wanted.get("metadata")}
    dataset = source | {"criterion_0": wanted.get("criterion"), "passed_0": "true" if "criterion" in wanted else None}
    review = {"metadata": wanted.get("metadata"), "found": "failed", "criterion": wanted.get("criterion")}
    return [
        Link("Build a dataset", f"{page.within('datasets', 'new')}?{_encoded(dataset)}"),
        Link("Review failures", f"{page.within('review')}?{_encoded(review)}"),
    ]


def _few_shot(page: Page, wanted: Parameters) -> list[Link | None]:
    write = Link("Write examples", page.within("examples")) if page.may_write else None
    return [write, _route(page, wanted)]


def _instructions(page: Page, wanted: Parameters) -> list[Link | None]:
    return [Link("Try it in the chat", page.within("chat")) if page.may_write else None]


def _output_rule(page: Page, wanted: Parameters) -> list[Link | None]:
    rules = wanted.get("rules_json", "")
    proposed = {"rules_json": rules} if 0 < len(rules) <= MOST_RULES else {"rule": wanted["rule"]}
    form = f"{page.within('judges', 'new')}?{urlencode({'type': 'rule'} | proposed)}"
    judge = Link("Let a judge watch it first", form) if page.may_write else None
    return [_route(page, wanted), judge]


def _training(page: Page, wanted: Parameters) -> list[Link | None]:
    job = Link("The training", page.within("fine-tuning", wanted["job_id"])) if "job_id" in wanted else None
    again = Link("Start another one", page.within("fine-tuning", "new")) if page.may_write else None
    return [job, again]


def _roll_back(page: Page, wanted: Parameters) -> list[Link | None]:
    routes = Link("Routes", "/console/routes") if page.owns_organization else None
    model = wanted.get("model")
    shown = Link("The model", f"{page.within('models', 'view')}?{urlencode({'model': model})}") if model else None
    job = Link("Its training", page.within("fine-tuning", wanted["job_id"])) if "job_id" in wanted else None
    return [routes, shown, job]


def _judge(page: Page, wanted: Parameters) -> list[Link | None]:
    return [Link("The judge", page.within("judges", wanted["judge_id"]))]


def _token_limit(page: Page, wanted: Parameters) -> list[Link | None]:
    query = f"?{urlencode({'model': wanted['model']})}" if "model" in wanted else ""
    return [Link("Its exchanges", page.within("exchanges") + query)]


def _provider(page: Page, wanted: Parameters) -> list[Link | None]:
    providers = Link("Providers", "/console/providers") if page.owns_organization else None
    return [providers, _route(page, wanted)]


def _budget(page: Page, wanted: Parameters) -> list[Link | None]:
    return [Link("Budgets", page.within("budgets")), Link("Rate limits", page.within("limits"))]


def _route(page: Page, wanted: Parameters) -> Link | None:
    """Routes are the organization's owners' to change."""
    if not page.owns_organization or "route_id" not in wanted:
        return None
    return Link(f"Change {wanted['route']}", f"/console/routes/{quote(wanted['route_id'])}/edit")


def _encoded(values: Mapping[str, str | None]) -> str:
    return urlencode({name: value for name, value in values.items() if value})


MAKERS: dict[str, Callable[[Page, Parameters], list[Link | None]]] = {
    "more_data": _more_data,
    "few_shot": _few_shot,
    "instructions": _instructions,
    "output_rule": _output_rule,
    "training_settings": _training,
    "roll_back": _roll_back,
    "distrust_judge": _judge,
    "token_limit": _token_limit,
    "provider": _provider,
    "budget": _budget,
}
