"""What vLLM's server makes of chats, without an engine. A process of its own, because vLLM warns when it is imported:

    python -m tests.vllm.rendering QUESTIONS ANSWERS

Both are JSON files. QUESTIONS: {"models": [{"path", "calls": [{"messages", "tools"?}]}], "templates": [text]}.
ANSWERS: {"models": [[token ids of a call, or vLLM's complaint as text]], "templates": ["string" or "openai"]}.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from vllm.config import DeviceConfig, ModelConfig, VllmConfig
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.renderers import renderer_from_config
from vllm.renderers.hf import _detect_content_format
from vllm.renderers.online_renderer import OnlineRenderer


def renderer_of(path: str) -> OnlineRenderer:
    """With the settings of `python -m vllm.entrypoints.openai.api_server --model PATH`."""
    config = ModelConfig(model=path, dtype="float32")
    renderer = renderer_from_config(VllmConfig(model_config=config, device_config=DeviceConfig("cpu")))
    return OnlineRenderer(
        config, renderer, request_logger=None, chat_template=None, chat_template_content_format="auto"
    )


async def render(renderer: OnlineRenderer, call: dict[str, Any]) -> list[int] | str:
    try:
        request = ChatCompletionRequest.model_validate({"model": "m", "tool_choice": "none", **call})
        rendered = await renderer.render_chat(request)
    except Exception as error:  # noqa: BLE001 - whatever a server would answer with
        return f"{type(error).__name__}: {error}"
    if not isinstance(rendered, tuple):
        return str(rendered)
    _, (prompt,) = rendered
    return list(prompt["prompt_token_ids"])


async def render_all(models: list[dict[str, Any]]) -> list[list[list[int] | str]]:
    replies = []
    for model in models:
        renderer = renderer_of(model["path"])
        replies.append([await render(renderer, call) for call in model["calls"]])
    return replies


def main(questions: Path, answers: Path) -> None:
    asked = json.loads(questions.read_text())
    templates = [_detect_content_format(template, default="string") for template in asked["templates"]]
    answers.write_text(json.dumps({"models": asyncio.run(render_all(asked["models"])), "templates": templates}))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
