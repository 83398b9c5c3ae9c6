"""An owner who administers with the SDK alone, chapter by chapter, and remembers what the audit log must tell of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any, Literal

import pytest
from openai import BadRequestError, NotFoundError, OpenAI
from openai.types.admin.organization import Project
from openai.types.admin.organization.projects.service_account_create_response import ServiceAccountCreateResponse

AS_ADMIN: Any = {"security": {"admin_api_key_auth": True}}
"""For what OpenAI's SDK has no method for."""
PASSWORD = "a long pass phrase"
CHANNEL: Any = {"type": "email", "recipients": ["owner@example.com"], "subject_prefix": "[shop]"}
MONTHLY: dict[str, Any] = {"currency": "USD", "interval": "month"}


@dataclass
class Owner:
    client: OpenAI
    told: list[str] = field(default_factory=list)
    """Types of the entries that the audit log must have by now."""
    project: Project = field(init=False)
    run: str = field(default_factory=lambda: token_hex(4))
    """In names and addresses, so that a stack can be walked twice."""

    def set_up_a_project(self) -> None:
        projects = self.client.admin.organization.projects
        made = projects.create(name=f"shop {self.run}")
        assert made.status == "active"
        self.project = projects.update(made.id, name=f"the shop {self.run}")
        assert projects.retrieve(made.id).name == f"the shop {self.run}"
        assert made.id in [each.id for each in projects.list(limit=1)]
        self.told += ["project.created", "project.updated"]

    def limit_its_models(self) -> None:
        permissions = self.client.admin.organization.projects.model_permissions
        id = self.project.id
        assert permissions.update(id, mode="deny_list", model_ids=["unicode"]).mode == "deny_list"
        assert permissions.retrieve(id).to_dict()["model_ids"] == ["unicode"]
        assert permissions.delete(id).deleted
        _is_gone(lambda: permissions.retrieve(id))
        self.told += ["project.updated", "project.updated"]

    def limit_its_rates(self) -> None:
        limits = self.client.admin.organization.projects.rate_limits
        id = self.project.id
        changed = limits.update_rate_limit("rl-echo", project_id=id, max_requests_per_1_minute=5000)
        assert (changed.model, changed.max_requests_per_1_minute) == ("echo", 5000)
        listed = {each.id: each.max_requests_per_1_minute for each in limits.list_rate_limits(id, limit=2)}
        assert listed["rl-echo"] == 5000
        assert listed["rl-*"] > 5000
        self.told += ["rate_limit.updated"]

    def limit_its_spending(self) -> None:
        spend_limit = self.client.admin.organization.projects.spend_limit
        id = self.project.id
        assert spend_limit.update(id, threshold_amount=500, **MONTHLY).threshold_amount == 500
        assert spend_limit.update(id, threshold_amount=600, **MONTHLY).enforcement.status == "inactive"
        assert spend_limit.retrieve(id).threshold_amount == 600
        assert spend_limit.delete(id).deleted
        _is_gone(lambda: spend_limit.retrieve(id))
        self.told += ["project.updated"] * 3

    def limit_everybodys_spending(self) -> None:
        spend_limit = self.client.admin.organization.spend_limit
        assert spend_limit.update(threshold_amount=100_000, **MONTHLY).threshold_amount == 100_000
        assert spend_limit.retrieve().currency == "USD"
        assert spend_limit.delete().deleted
        _is_gone(spend_limit.retrieve)
        self.told += ["organization.updated"] * 2

    def want_alerts(self) -> None:
        organization, id = self.client.admin.organization, self.project.id
        of_project, of_all = organization.projects.spend_alerts, organization.spend_alerts
        wanted: dict[str, Any] = MONTHLY | {"notification_channel": CHANNEL}
        mine = of_project.create(id, threshold_amount=100, **wanted)
        assert of_project.update(mine.id, project_id=id, threshold_amount=200, **wanted).threshold_amount == 200
        assert of_project.retrieve(mine.id, project_id=id).notification_channel.subject_prefix == "[shop]"
        assert [each.id for each in of_project.list(id)] == [mine.id]
        alert = of_all.create(threshold_amount=100, **wanted)
        assert of_all.update(alert.id, threshold_amount=300, **wanted).threshold_amount == 300
        assert of_all.retrieve(alert.id).threshold_amount == 300
        assert alert.id in [each.id for each in of_all.list(limit=1)]
        assert mine.id not in [each.id for each in of_all.list()]
        assert of_project.delete(mine.id, project_id=id).deleted
        assert of_all.delete(alert.id).deleted
        _is_gone(lambda: of_all.retrieve(alert.id))
        _is_gone(lambda: of_project.retrieve(mine.id, project_id=id))
        self.told += [
            *["project.updated"] * 2,
            *["organization.updated"] * 2,
            "project.updated",
            "organization.updated",
        ]

    def give_out_a_key(self, name: str) -> ServiceAccountCreateResponse:
        accounts = self.client.admin.organization.projects.service_accounts
        made = accounts.create(self.project.id, name=name)
        assert made.api_key is not None
        assert accounts.retrieve(made.id, project_id=self.project.id).role == "member"
        self.told += ["service_account.created", "api_key.created"]
        return made

    def manage_accounts_and_keys(self) -> None:
        projects, id = self.client.admin.organization.projects, self.project.id
        accounts, keys = projects.service_accounts, projects.api_keys
        account = accounts.create(id, name="cron", create_service_account_only=True)
        assert account.api_key is None
        key = accounts.api_keys.create(account.id, project_id=id, name="nightly")
        assert accounts.update(account.id, project_id=id, name="nights", role="member").name == "nights"
        assert account.id in [each.id for each in accounts.list(id, limit=1)]
        changed = keys.update(key.id, project_id=id, scopes=["api.model.read"], expires_in_seconds=3600)
        assert changed.owner.service_account is not None
        assert changed.owner.service_account.id == account.id
        assert keys.retrieve(key.id, project_id=id).redacted_value == changed.redacted_value
        assert key.value not in (found := [each.redacted_value for each in keys.list(id, limit=1)])
        assert changed.redacted_value in found
        assert keys.delete(key.id, project_id=id).deleted
        assert accounts.delete(account.id, project_id=id).deleted
        _is_gone(lambda: accounts.retrieve(account.id, project_id=id))
        self.told += ["service_account.created", "api_key.created", "service_account.updated"]
        self.told += ["api_key.updated", "api_key.deleted", "service_account.deleted"]

    def manage_admin_keys(self) -> None:
        keys = self.client.admin.organization.admin_api_keys
        made = keys.create(name=f"ci {self.run}", expires_in_seconds=3600)
        assert made.value.startswith("sk-admin-")
        assert keys.retrieve(made.id).expires_at == made.expires_at
        assert made.id in [each.id for each in keys.list(limit=1, order="desc")]
        other = self.client.with_options(admin_api_key=made.value)
        assert other.admin.organization.projects.retrieve(self.project.id)
        assert keys.delete(made.id).deleted
        _is_gone(lambda: keys.retrieve(made.id))
        self.told += ["api_key.created", "api_key.deleted"]

    def invite(self, name: str, role: Literal["owner", "reader"]) -> str:
        """A person who has accepted. -> the id of the user."""
        invites, users = self.client.admin.organization.invites, self.client.admin.organization.users
        email = f"{name}.{self.run}@example.com"
        invite = invites.create(email=email, role=role, projects=[{"id": self.project.id, "role": "member"}])
        assert invites.retrieve(invite.id).status == "pending"
        token = str(invite.to_dict()["invite_url"]).partition("#token=")[2]
        self.client.post(
            "/invites/accept",
            cast_to=object,
            body={"token": token, "name": name, "password": PASSWORD},
            options=AS_ADMIN,
        )
        assert invite.id in [each.id for each in invites.list(limit=1)]
        assert invites.retrieve(invite.id).status == "accepted"
        [user] = users.list(emails=[email])
        assert user.role == role
        self.told += ["invite.sent", "invite.accepted"]
        return user.id

    def manage_people(self) -> None:
        organization, id = self.client.admin.organization, self.project.id
        people, members = organization.users, organization.projects.users
        boss, anna = self.invite("boss", "owner"), self.invite("anna", "reader")
        assert people.update(anna, role="owner").role == "owner"
        assert people.retrieve(anna).role == "owner"
        assert {boss, anna} <= {each.id for each in people.list(limit=1)}
        assert members.update(anna, project_id=id, role="owner").role == "owner"
        assert {each.id for each in members.list(id, limit=1)} == {boss, anna}
        assert members.delete(anna, project_id=id).deleted
        _is_gone(lambda: members.retrieve(anna, project_id=id))
        assert members.create(id, user_id=anna, role="member").role == "member"
        assert members.retrieve(anna, project_id=id).email == people.retrieve(anna).email
        assert people.delete(anna).deleted
        _is_gone(lambda: people.retrieve(anna))
        withdrawn = organization.invites.create(email=f"late.{self.run}@example.com", role="reader")
        assert organization.invites.delete(withdrawn.id).deleted
        self.told += ["user.updated", "user.updated", "user.deleted", "user.added", "user.deleted"]
        self.told += ["invite.sent", "invite.deleted"]

    def archive_the_project(self) -> None:
        projects = self.client.admin.organization.projects
        assert projects.archive(self.project.id).status == "archived"
        assert self.project.id not in [each.id for each in projects.list(limit=100)]
        assert self.project.id in [each.id for each in projects.list(limit=100, include_archived=True)]
        with pytest.raises(BadRequestError, match="archived"):
            projects.update(self.project.id, name="again")
        self.told += ["project.archived"]


def _is_gone(retrieve: Callable[[], object]) -> None:
    with pytest.raises(NotFoundError):
        retrieve()
