"""`tuneway webhooks`: a client of /v1/webhooks."""

import json

import click

from admin.api import AdminCommand, Api


@click.group()
def webhooks() -> None:
    """Say where events are sent: budgets that reach a threshold, fine-tuning jobs that end."""


@webhooks.command("list", cls=AdminCommand)
def list_webhooks(url: str, admin_key: str, as_json: bool) -> None:
    """List the webhooks."""
    found = list(Api(url, admin_key).every("/webhooks"))
    if as_json:
        click.echo(json.dumps(found))
        return
    for each in found:
        click.echo(f"{each['id']}  {each['url']}  {', '.join(each['event_types'])}")
        if not each["enabled"]:
            click.echo(f"  ! disabled. {each['problem'] or ''}".rstrip())


@webhooks.command("add", cls=AdminCommand)
@click.argument("target")
@click.option("--event", "events", multiple=True, help="Type of event; may be repeated; all when left out.")
@click.option("--name", default=None)
def add(target: str, events: tuple[str, ...], name: str | None, url: str, admin_key: str, as_json: bool) -> None:
    """Send events to the URL TARGET, and print the secret that signs them, once.

    \b
    tuneway webhooks add https://example.com/hook --event budget.exhausted
    """
    api = Api(url, admin_key)
    types = list(events) or api.call("GET", "/webhook_event_types")["data"]
    made = api.call("POST", "/webhooks", {"url": target, "event_types": types} | ({"name": name} if name else {}))
    if as_json:
        click.echo(json.dumps(made))
    else:
        click.echo(f"{made['signing_secret']}\n\nSigns what webhook {made['id']} sends. It is not shown again.")


@webhooks.command("test", cls=AdminCommand)
@click.argument("webhook_id")
@click.option("--event", default=None, help="Type of event; the webhook's first when left out.")
def test(webhook_id: str, event: str | None, url: str, admin_key: str, as_json: bool) -> None:
    """Send a sample event and tell what came back; exit status 1 when it was not taken."""
    body = {"event_type": event} if event else {}
    result = Api(url, admin_key).call("POST", f"/webhooks/{webhook_id}/test", body)
    if as_json:
        click.echo(json.dumps(result))
    else:
        click.echo(f"It answered {result['status_code']}." if result["detail"] is None else result["detail"])
    if result["detail"] is not None:
        raise click.exceptions.Exit(1)


@webhooks.command("remove", cls=AdminCommand)
@click.argument("webhook_id")
def remove(webhook_id: str, url: str, admin_key: str, as_json: bool) -> None:
    """Delete a webhook; what was not delivered yet is given up."""
    answer = Api(url, admin_key).call("DELETE", f"/webhooks/{webhook_id}")
    click.echo(json.dumps(answer) if as_json else f"Deleted {webhook_id}.")
