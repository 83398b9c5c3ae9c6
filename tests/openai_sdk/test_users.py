"""client.admin.organization: users, invites and the people of projects, as OpenAI's own types want them."""

from typing import Any
from uuid import uuid4

import httpx
import pytest
from openai import BadRequestError, NotFoundError, OpenAI, PermissionDeniedError

from deploy.demo.stack import DemoStack
from tests.openai_sdk.stacks import connect

pytestmark = pytest.mark.train

PASSWORD = "correct horse battery"


def email() -> str:
    return f"{uuid4().hex}@example.com"


def accepted(stack: DemoStack, invite: Any) -> str:
    """The id of the person that an invitation becomes."""
    token = invite.to_dict()["invite_url"].partition("#token=")[2]
    body = {"token": token, "name": "Ada", "password": PASSWORD}
    answer = httpx.post(f"{stack.url}/v1/invites/accept", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


class TestInvites:
    def test_are_made_listed_accepted_and_deleted(self, client: OpenAI, stack: DemoStack) -> None:
        organization = client.admin.organization
        project = organization.projects.create(name="invited")
        projects: Any = [{"id": project.id, "role": "member"}]
        invite = organization.invites.create(email=email(), role="reader", projects=projects)
        assert (invite.status, invite.projects[0].role) == ("pending", "member")
        other = organization.invites.create(email=email(), role="owner")
        assert {invite.id, other.id} <= {each.id for each in organization.invites.list(limit=1)}
        user_id = accepted(stack, invite)
        assert organization.invites.retrieve(invite.id).status == "accepted"
        assert [each.id for each in organization.projects.users.list(project.id)] == [user_id]
        with pytest.raises(BadRequestError):
            organization.invites.delete(invite.id)
        assert organization.invites.delete(other.id).deleted is True
        with pytest.raises(NotFoundError):
            organization.invites.retrieve(other.id)


class TestUsers:
    def test_are_listed_changed_and_deleted(self, client: OpenAI, stack: DemoStack) -> None:
        organization = client.admin.organization
        invite = organization.invites.create(email=email(), role="owner")
        user_id = accepted(stack, invite)
        spare = accepted(stack, organization.invites.create(email=email(), role="owner"))
        assert {user_id, spare} <= {each.id for each in organization.users.list(limit=1)}
        assert [each.id for each in organization.users.list(emails=[invite.email.upper()])] == [user_id]
        user = organization.users.retrieve(user_id)
        assert (user.email, user.name, user.role) == (invite.email, "Ada", "owner")
        assert organization.users.update(user_id, role="reader").role == "reader"
        assert organization.users.delete(user_id).deleted is True
        with pytest.raises(NotFoundError):
            organization.users.retrieve(user_id)

    def test_of_a_project(self, client: OpenAI, stack: DemoStack) -> None:
        organization = client.admin.organization
        people = organization.projects.users
        project = organization.projects.create(name="staffed")
        ids = [accepted(stack, organization.invites.create(email=email(), role="reader")) for _ in range(3)]
        for user_id in ids:
            assert people.create(project.id, user_id=user_id, role="member").role == "member"
        assert [each.id for each in people.list(project.id, limit=2)] == ids
        assert people.update(ids[0], project_id=project.id, role="owner").role == "owner"
        assert people.retrieve(ids[0], project_id=project.id).role == "owner"
        assert people.delete(ids[0], project_id=project.id).deleted is True
        with pytest.raises(NotFoundError):
            people.retrieve(ids[0], project_id=project.id)

    def test_are_not_for_a_projects_key(self, stack: DemoStack, key: Any) -> None:
        with connect(stack, key.value, admin_api_key=key.value) as client, pytest.raises(PermissionDeniedError):
            client.admin.organization.users.list()
