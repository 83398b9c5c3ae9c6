"""openai-node 6 and 7 against the whole stack: sections.mjs says what they do there."""

import json
import os
import re
import shutil
import subprocess

import pytest

from deploy.demo.stack import DemoStack, Key
from tests.openai_node.node import HERE, Node
from tests.openai_sdk.stacks import EXAMPLES, examples

pytestmark = [pytest.mark.train, pytest.mark.slow]

SCRIPT = HERE / "sections.mjs"
SECTIONS = re.findall(r"^  async (\w+)\(\)", SCRIPT.read_text(), re.MULTILINE)
SECONDS = 600


@pytest.fixture(scope="module", params=[6, 7], ids=["openai6", "openai7"])
def outcomes(request: pytest.FixtureRequest, node: Node, stack: DemoStack, key: Key, other_key: Key) -> dict[str, str]:
    """Section -> what went wrong in it, empty when nothing did."""
    directory = node.install(request.param)
    shutil.copy(SCRIPT, directory)
    (directory / "training.jsonl").write_bytes(examples(EXAMPLES))
    variables = {
        "BASE_URL": f"{stack.url}/v1",
        "API_KEY": key.value,
        "ADMIN_KEY": stack.admin_key,
        "OTHER_PROJECT": other_key.project_id,
        "TRAINING": str(directory / "training.jsonl"),
    }
    done = subprocess.run(
        [node.node, SCRIPT.name],
        cwd=directory,
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    return {each["section"]: each["error"] or "" for each in told}


class TestOpenaiNode:
    def test_version_is_the_one_asked_for(self, node: Node) -> None:
        for version in (6, 7):
            package = node.install(version) / "node_modules" / "openai" / "package.json"
            assert json.loads(package.read_text())["version"].startswith(f"{version}.")

    @pytest.mark.parametrize("section", SECTIONS)
    def test_section(self, outcomes: dict[str, str], section: str) -> None:
        assert outcomes[section] == ""
