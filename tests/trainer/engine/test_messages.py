import pytest

from trainer import messages as rules
from trainer.engine.messages import for_template, tools_for_template
from trainer.engine.protocol import Tool
from trainer.engine.refusals import Invalid, Unsupported

pytestmark = pytest.mark.train

BROKEN = {"function": {"name": "f", "arguments": "{"}}


def refusal(make, *arguments) -> Invalid:
    with pytest.raises(Invalid) as caught:
        make(*arguments)
    return caught.value


class TestMessages:
    def test_follow_the_rules_that_training_has(self):
        messages = [{"role": "assistant", "content": [{"type": "text", "text": "a"}], "tool_calls": [BROKEN]}]
        assert for_template(messages) == rules.for_template(messages)

    @pytest.mark.parametrize(
        ("message", "param", "code"),
        [
            ({"content": "a"}, "messages[0].role", "missing_required_parameter"),
            ({"role": "robot", "content": "a"}, "messages[0].role", "invalid_value"),
            ({"role": "user"}, "messages[0].content", "missing_required_parameter"),
            ({"role": "user", "content": 5}, "messages[0].content", "invalid_value"),
            (
                {"role": "user", "content": [{"type": "text"}]},
                "messages[0].content[0].text",
                "missing_required_parameter",
            ),
            ({"role": "user", "content": [{"type": "image_url"}]}, "messages[0].content[0]", "unsupported_parameter"),
            (
                {"role": "assistant", "tool_calls": [{"function": {}}]},
                "messages[0].tool_calls[0].function.name",
                "missing_required_parameter",
            ),
        ],
    )
    def test_wrong_ones_name_their_place(self, message, param, code):
        refused = refusal(for_template, [message])
        assert (refused.status, refused.param, refused.code) == (400, param, code)
        assert refused.message.startswith(
            {"missing_required_parameter": f"Missing required parameter: '{param}'.", "invalid_value": "Invalid '"}.get(
                code, "The embedded engine does not support content parts of type 'image_url'."
            )
        )


class TestTools:
    def test_follow_the_rules_that_training_has(self):
        function = {"name": "f", "strict": True}
        expected = rules.tools_for_template([{"type": "function", "function": function}])
        assert tools_for_template([Tool(type="function", function=function)]) == expected

    def test_none_are_none(self):
        assert tools_for_template(None) is None
        assert tools_for_template([]) is None

    def test_other_kinds_are_refused(self):
        assert isinstance(refusal(tools_for_template, [Tool(type="custom")]), Unsupported)
