"""client.admin.organization: spend limits, spend alerts and the audit log; client.webhooks; in strict mode."""

import pytest
from openai import BadRequestError, NotFoundError, OpenAI

from deploy.demo.stack import DemoStack, Key
from tests.openai_sdk.stacks import connect

pytestmark = pytest.mark.train

CHANNEL = {"type": "email", "recipients": ["cfo@example.com"]}


class TestSpendLimits:
    def test_of_the_organization(self, client: OpenAI) -> None:
        limit = client.admin.organization.spend_limit
        made = limit.update(currency="USD", interval="month", threshold_amount=100_000_00)
        assert (made.threshold_amount, made.enforcement.status) == (100_000_00, "inactive")
        assert limit.retrieve() == made
        assert limit.delete().deleted
        with pytest.raises(NotFoundError):
            limit.retrieve()

    def test_of_a_project(self, client: OpenAI, other_key: Key) -> None:
        limit = client.admin.organization.projects.spend_limit
        project_id = other_key.project_id
        made = limit.update(project_id, currency="USD", interval="month", threshold_amount=50_000)
        assert limit.retrieve(project_id) == made
        with pytest.raises(BadRequestError):
            limit.update(project_id, currency="USD", interval="month", threshold_amount=0)
        assert limit.delete(project_id).deleted


class TestSpendAlerts:
    def test_of_the_organization(self, client: OpenAI) -> None:
        alerts = client.admin.organization.spend_alerts
        wanted = {"currency": "USD", "interval": "month", "notification_channel": CHANNEL}
        made = [alerts.create(threshold_amount=cents, **wanted) for cents in (900_000, 950_000, 990_000)]  # type: ignore[arg-type]
        ids = [each.id for each in made]
        assert [each.id for each in alerts.list(limit=1)] == ids
        assert [each.id for each in alerts.list(before=ids[2], limit=1).data] == ids[1:2]
        changed = alerts.update(ids[0], threshold_amount=800_000, **wanted)  # type: ignore[arg-type]
        assert alerts.retrieve(ids[0]) == changed
        assert changed.notification_channel.recipients == ["cfo@example.com"]
        assert all(alerts.delete(each).deleted for each in ids)

    def test_of_a_project(self, client: OpenAI, other_key: Key) -> None:
        alerts = client.admin.organization.projects.spend_alerts
        project = {"project_id": other_key.project_id}
        wanted = {"currency": "USD", "interval": "month", "notification_channel": CHANNEL}
        made = alerts.create(threshold_amount=10_000, **project, **wanted)  # type: ignore[arg-type]
        assert alerts.retrieve(made.id, **project) == made
        assert [each.id for each in alerts.list(**project)] == [made.id]
        changed = alerts.update(made.id, threshold_amount=20_000, **project, **wanted)  # type: ignore[arg-type]
        assert changed.threshold_amount == 20_000
        assert alerts.delete(made.id, **project).deleted


class TestAuditLogs:
    def test_tell_who_changed_what(self, client: OpenAI, other_key: Key) -> None:
        organization = client.admin.organization
        project_id = other_key.project_id
        organization.projects.spend_limit.update(project_id, currency="USD", interval="month", threshold_amount=70_000)
        organization.projects.spend_limit.delete(project_id)
        logs = organization.audit_logs.list(project_ids=[project_id], event_types=["project.updated"], limit=1)
        entries = [entry for entry, _ in zip(logs, range(2), strict=False)]
        assert [entry.type for entry in entries] == ["project.updated"] * 2
        newest = entries[0]
        assert newest.project is not None
        assert newest.project.id == project_id
        assert newest.project_updated is not None
        assert newest.project_updated.id == project_id
        assert newest.actor is not None
        assert newest.actor.type == "api_key"
        since = organization.audit_logs.list(effective_at={"gte": newest.effective_at}, project_ids=[project_id])
        assert newest.id in [entry.id for entry in since]
        later = organization.audit_logs.list(effective_at={"gt": newest.effective_at + 3600})
        assert later.data == []

    def test_every_page_of_everything_is_valid(self, client: OpenAI) -> None:
        ids = [entry.id for entry in client.admin.organization.audit_logs.list(limit=5)]
        assert len(ids) == len(set(ids)) > 5


class TestWebhooks:
    def test_live_with_an_admin_key(self, stack: DemoStack) -> None:
        with connect(stack, stack.admin_key, _strict_response_validation=True) as client:
            types = client.webhooks.event_types.list().data
            assert "fine_tuning.job.succeeded" in types
            made = client.webhooks.create(
                url=f"{stack.url}/nowhere", name="ours", event_types=["fine_tuning.job.succeeded"]
            )
            assert made.signing_secret.startswith("whsec_")
            assert client.webhooks.retrieve(made.id).signing_secret_hint
            assert client.webhooks.update(made.id, name="theirs").name == "theirs"
            assert [each.id for each in client.webhooks.list(limit=1)] == [made.id]
            assert client.webhooks.test(made.id, event_type="fine_tuning.job.succeeded").status_code == 404
            rotated = client.webhooks.rotate_secret(made.id, keep_old_secret_active_for_24_hours=True)
            assert rotated.signing_secret != made.signing_secret
            assert client.webhooks.delete(made.id).deleted
