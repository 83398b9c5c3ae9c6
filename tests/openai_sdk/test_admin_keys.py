"""client.admin.organization: admin keys, projects, their keys, model permissions and service accounts, as the SDK has them."""

import pytest
from openai import AsyncOpenAI, AuthenticationError, BadRequestError, NotFoundError, OpenAI, PermissionDeniedError
from openai.types.admin.organization import Project

from deploy.demo.stack import DemoStack
from tests.openai_sdk.stacks import connect, user

pytestmark = pytest.mark.train

MESSAGES = user("hello")


@pytest.fixture
def project(client: OpenAI) -> Project:
    return client.admin.organization.projects.create(name="administered")


class TestAdminKeys:
    def test_whole_life(self, client: OpenAI, stack: DemoStack) -> None:
        keys = client.admin.organization.admin_api_keys
        made = keys.create(name="ci", expires_in_seconds=3600)
        assert made.expires_at is not None
        assert keys.retrieve(made.id).redacted_value == f"sk-admin-...{made.value[-4:]}"
        listed = list(keys.list(limit=1, order="asc"))
        assert made.id in [each.id for each in listed]
        assert [each.id for each in keys.list(order="desc")] == [each.id for each in listed][::-1]
        with connect(stack, "sk-none", admin_api_key=made.value) as another:
            assert another.admin.organization.projects.list(limit=1).data
            assert keys.delete(made.id).deleted
            with pytest.raises(AuthenticationError):
                another.admin.organization.projects.list()
        with pytest.raises(NotFoundError):
            keys.retrieve(made.id)

    def test_a_reader_changes_nothing(self, client: OpenAI, stack: DemoStack) -> None:
        made = client.admin.organization.admin_api_keys.create(name="auditor", extra_body={"role": "reader"})
        with connect(stack, "sk-none", admin_api_key=made.value) as reader:
            assert reader.admin.organization.projects.list(limit=1).data
            with pytest.raises(PermissionDeniedError):
                reader.admin.organization.projects.create(name="mine")


class TestProjects:
    def test_whole_life(self, client: OpenAI, project: Project) -> None:
        projects = client.admin.organization.projects
        assert projects.retrieve(project.id).status == "active"
        assert projects.update(project.id, name="renamed").name == "renamed"
        assert projects.archive(project.id).status == "archived"
        assert project.id not in [each.id for each in projects.list(limit=100)]
        assert project.id in [each.id for each in projects.list(limit=100, include_archived=True)]
        with pytest.raises(BadRequestError):
            projects.update(project.id, name="again")

    def test_data_lie_where_the_operator_keeps_them(self, client: OpenAI) -> None:
        with pytest.raises(BadRequestError) as refused:
            client.admin.organization.projects.create(name="abroad", residency="EU_STORAGE_PROCESSING")
        assert refused.value.param == "residency"

    def test_model_permissions(self, client: OpenAI, stack: DemoStack, project: Project) -> None:
        projects = client.admin.organization.projects
        permissions = projects.model_permissions
        account = projects.service_accounts.create(project.id, name="bot")
        assert account.api_key is not None
        assert permissions.update(project.id, mode="allow_list", model_ids=["echo"]).api_model_ids == ["echo"]
        assert permissions.retrieve(project.id).mode == "allow_list"
        with connect(stack, account.api_key.value) as bot:
            assert [model.id for model in bot.models.list()] == ["echo"]
            assert bot.chat.completions.create(model="echo", messages=MESSAGES)
            with pytest.raises(NotFoundError) as refused:
                bot.chat.completions.create(model="unicode", messages=MESSAGES)
            assert refused.value.code == "model_not_found"
            assert permissions.delete(project.id).deleted
            assert bot.chat.completions.create(model="unicode", messages=MESSAGES)


class TestServiceAccounts:
    def test_whole_life(self, client: OpenAI, stack: DemoStack, project: Project) -> None:
        accounts = client.admin.organization.projects.service_accounts
        made = accounts.create(project.id, name="bot", expires_in_seconds=3600)
        assert made.api_key is not None
        assert made.api_key.expires_at is not None
        assert accounts.retrieve(made.id, project_id=project.id).role == "member"
        changed = accounts.update(made.id, project_id=project.id, name="robot", role="owner")
        assert (changed.name, changed.role) == ("robot", "owner")
        assert [each.id for each in accounts.list(project.id)] == [made.id]
        with connect(stack, made.api_key.value) as bot:
            assert bot.models.retrieve("echo")
            assert accounts.delete(made.id, project_id=project.id).deleted
            with pytest.raises(AuthenticationError):
                bot.models.retrieve("echo")

    def test_a_key_with_scopes_for_an_account_without_one(
        self, client: OpenAI, stack: DemoStack, project: Project
    ) -> None:
        accounts = client.admin.organization.projects.service_accounts
        made = accounts.create(project.id, name="bot", create_service_account_only=True)
        assert (made.api_key, made.role) == (None, "none")
        key = accounts.api_keys.create(made.id, project_id=project.id, name="reader", scopes=["api.model.read"])
        assert key.expires_at is None
        with connect(stack, key.value) as bot:
            assert bot.models.retrieve("echo")
            with pytest.raises(PermissionDeniedError) as refused:
                bot.chat.completions.create(model="echo", messages=MESSAGES)
        assert "Missing scopes: model.request." in refused.value.message


class TestProjectKeys:
    def test_whole_life(self, client: OpenAI, stack: DemoStack, project: Project) -> None:
        projects = client.admin.organization.projects
        account = projects.service_accounts.create(project.id, name="bot")
        assert account.api_key is not None
        [key] = projects.api_keys.list(project.id, owner_project_access="active")
        assert key.owner.service_account is not None
        assert (key.id, key.owner.service_account.id) == (account.api_key.id, account.id)
        changed = projects.api_keys.update(
            key.id, project_id=project.id, scopes=["api.all.read"], expires_in_seconds=3600
        )
        assert changed.expires_at is not None
        assert projects.api_keys.retrieve(key.id, project_id=project.id) == changed
        with connect(stack, account.api_key.value) as bot:
            assert bot.models.retrieve("echo")
            with pytest.raises(PermissionDeniedError):
                bot.chat.completions.create(model="echo", messages=MESSAGES)
            projects.api_keys.update(key.id, project_id=project.id, scopes=[])
            assert bot.chat.completions.create(model="echo", messages=MESSAGES)
            assert projects.api_keys.delete(key.id, project_id=project.id).deleted
            with pytest.raises(AuthenticationError):
                bot.models.list()

    def test_rotation_is_an_extension(self, client: OpenAI, stack: DemoStack, project: Project) -> None:
        url = f"/organization/projects/{project.id}/api_keys"
        admin = {"Authorization": f"Bearer {stack.admin_key}"}
        options = {"headers": admin}
        key = client.post(url, cast_to=dict[str, object], body={"name": "app", "tags": ["a"]}, options=options)
        new = client.post(f"{url}/{key['id']}/rotate", cast_to=dict[str, object], body={}, options=options)
        for secret in (key["value"], new["value"]):
            with connect(stack, str(secret)) as bot:
                assert bot.models.retrieve("echo")


async def test_asynchronous_client(asynchronous: AsyncOpenAI, stack: DemoStack) -> None:
    organization = asynchronous.with_options(admin_api_key=stack.admin_key).admin.organization
    project = await organization.projects.create(name="asynchronous")
    account = await organization.projects.service_accounts.create(project.id, name="bot")
    assert account.api_key is not None
    assert [key.id async for key in organization.projects.api_keys.list(project.id)] == [account.api_key.id]
