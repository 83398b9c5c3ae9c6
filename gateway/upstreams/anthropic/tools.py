"""Tools, and how the model may choose among them.

`{"type": "function", "function": {name, description, parameters, strict}}` <-> `{name, description, input_schema,
strict}`; anthropic.types.ToolParam and ToolChoiceParam.
"""

from collections.abc import Iterable
from typing import Any

from gateway.errors import InvalidRequest
from gateway.upstreams.anthropic.chat import ChatRequest, FunctionName, Tool, ToolChoice
from gateway.upstreams.anthropic.schemas import accepted

_Block = dict[str, Any]


def tool_fields(request: ChatRequest, called: Iterable[str]) -> _Block:
    """`tools` and `tool_choice`, or nothing. Functions, the form before tools, are tools of which one is called at most.

    Args:
        called: names, each once, of the tools that the conversation has called so far. Anthropic refuses such a conversation when
            no tool is defined; then they are defined for it, and may not be called again.

    Raises:
        InvalidRequest: a tool or a choice that Anthropic does not have.
    """
    tools = [_tool(tool, f"tools[{index}]") for index, tool in enumerate(request.tools or ())]
    tools += [
        _tool(Tool("function", each), f"functions[{index}]") for index, each in enumerate(request.functions or ())
    ]
    choice = _choice(request, has_tools=bool(tools))
    if not tools:
        tools = [{"name": name, "input_schema": {"type": "object"}} for name in called]
        choice = {"type": "none"}
    if not tools:
        return {}
    return {"tools": tools} | ({"tool_choice": choice} if choice else {})


def _tool(tool: Tool, param: str) -> _Block:
    if tool.type != "function" or tool.function is None:
        raise InvalidRequest(
            f"Invalid '{param}.type': Anthropic has tools of the type 'function' only.",
            param=f"{param}.type",
            code="unsupported_value",
        )
    function = tool.function
    schema = function.parameters or {"type": "object", "properties": {}}
    if function.strict:
        schema = accepted(schema, f"{param}.function.parameters")
    block: _Block = {"name": function.name, "input_schema": {"type": "object"} | schema}
    if function.description:
        block["description"] = function.description
    if function.strict:
        block["strict"] = True
    if tool.cache_control:
        block["cache_control"] = tool.cache_control
    return block


def _choice(request: ChatRequest, *, has_tools: bool) -> _Block | None:
    chosen = _chosen(request.tool_choice) or _chosen_function(request.function_call)
    if not has_tools:
        if chosen and chosen["type"] in ("any", "tool"):
            raise InvalidRequest(
                "Invalid 'tool_choice': it names a tool, and there are no 'tools'.", param="tool_choice"
            )
        return None
    one_at_a_time = request.parallel_tool_calls is False or bool(request.functions)
    if one_at_a_time and (chosen is None or chosen["type"] != "none"):
        return (chosen or {"type": "auto"}) | {"disable_parallel_tool_use": True}
    return chosen


def _chosen_function(choice: str | FunctionName | None) -> _Block | None:
    match choice:
        case None:
            return None
        case "auto" | "none":
            return {"type": choice}
        case FunctionName(name=name):
            return {"type": "tool", "name": name}
        case _:
            raise InvalidRequest(
                "Invalid 'function_call': 'auto', 'none' or a function by name is expected.", param="function_call"
            )


def _chosen(choice: str | ToolChoice | None) -> _Block | None:
    match choice:
        case None:
            return None
        case "auto" | "none":
            return {"type": choice}
        case "required":
            return {"type": "any"}
        case ToolChoice(type="function", function=function) if function:
            return {"type": "tool", "name": function.name}
        case _:
            raise InvalidRequest(
                "Invalid 'tool_choice': Anthropic's Messages API knows 'auto', 'none', 'required' and a function by name.",
                param="tool_choice",
                code="unsupported_value",
            )
