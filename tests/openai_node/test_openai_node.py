"""openai-node 6 and 7 against the whole stack: sections.mjs and administration.mjs say what they do there."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.demo.stack import DemoStack, Key
from tests.openai_node.node import HERE, Node
from tests.openai_sdk.stacks import EXAMPLES, examples

pytestmark = [pytest.mark.train, pytest.mark.slow]

SCRIPTS = (HERE / "sections.mjs", HERE / "administration.mjs")
SECTIONS = [name for each in SCRIPTS for name in re.findall(r"^  async (\w+)\(\)", each.read_text(), re.MULTILINE)]
SECONDS = 600


@pytest.fixture(scope="module", params=[6, 7], ids=["openai6", "openai7"])
def outcomes(request: pytest.FixtureRequest, node: Node, stack: DemoStack, key: Key, other_key: Key) -> dict[str, str]:
    """Section -> what went wrong in it, empty when nothing did."""
    directory = node.install(request.param)
    (directory / "training.jsonl").write_bytes(examples(EXAMPLES))
    variables = {
        "BASE_URL": f"{stack.url}/v1",
        "API_KEY": key.value,
        "ADMIN_KEY": stack.admin_key,
        "OTHER_PROJECT": other_key.project_id,
        "TRAINING": str(directory / "training.jsonl"),
    }
    told = [each for script in SCRIPTS for each in run(node, script, directory, variables)]
    assert [each["section"] for each in told] == SECTIONS
    return {each["section"]: each["error"] or "" for each in told}


def run(node: Node, script: Path, directory: Path, variables: dict[str, str]) -> list[dict[str, str]]:
    shutil.copy(script, directory)
    done = subprocess.run(
        [node.node, script.name],
        cwd=directory,
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


class TestOpenaiNode:
    def test_version_is_the_one_asked_for(self, node: Node) -> None:
        for version in (6, 7):
            package = node.install(version) / "node_modules" / "openai" / "package.json"
            assert json.loads(package.read_text())["version"].startswith(f"{version}.")

    @pytest.mark.parametrize("section", SECTIONS)
    def test_section(self, outcomes: dict[str, str], section: str) -> None:
        assert outcomes[section] == ""
