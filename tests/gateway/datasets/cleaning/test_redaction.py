"""Personal data does not reach a training file, wherever in a line it stands."""

import json
from typing import Any

from gateway.datasets.cleaning.redaction import Redactor
from judges.personal_data import KINDS, find

KEY = b"a dataset's own key"
EMAIL, PHONE, IBAN = "ann.lee@example.com", "+1 212 555 2368", "DE89370400440532013000"
CARD, SSN, ADDRESS = "4111 1111 1111 1111", "078-05-1120", "203.0.113.7"
TOKEN = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"
PLANTED = [EMAIL, PHONE, IBAN, CARD, SSN, ADDRESS, TOKEN]


def redactor() -> Redactor:
    return Redactor(KINDS, KEY)


def line() -> dict[str, Any]:
    said = f"I am {EMAIL}, call {PHONE}; pay {IBAN} or {CARD}."
    arguments = json.dumps({"to": EMAIL, "card": 4111111111111111, EMAIL: [SSN], "n": 3, "ok": True})
    call = {"id": "call_1", "type": "function", "function": {"name": "send", "arguments": arguments}}
    return {
        "messages": [
            {"role": "system", "content": f"The server is {ADDRESS}."},
            {"role": "user", "name": EMAIL, "content": [{"type": "text", "text": said}]},
            {"role": "assistant", "content": None, "tool_calls": [call], "weight": 1},
            {"role": "tool", "tool_call_id": "call_1", "content": f"token={TOKEN}"},
            {"role": "assistant", "content": f"Done, {EMAIL}."},
        ],
        "tools": [{"type": "function", "function": {"name": "send", "description": f"Ask {EMAIL}", "parameters": {}}}],
    }


class TestLine:
    def test_nothing_that_was_planted_is_left(self) -> None:
        text = json.dumps(redactor().line(line()), ensure_ascii=False)
        assert not [each for each in PLANTED if each in text]
        assert "4111111111111111" not in text
        assert find(text) == []

    def test_the_rest_stays_as_it_was(self) -> None:
        redacted = redactor().line(line())
        assert [message["role"] for message in redacted["messages"]] == [
            "system",
            "user",
            "assistant",
            "tool",
            "assistant",
        ]
        call = redacted["messages"][2]["tool_calls"][0]
        assert (call["id"], call["function"]["name"]) == ("call_1", "send")
        arguments = json.loads(call["function"]["arguments"])
        assert (arguments["n"], arguments["ok"]) == (3, True)
        assert redacted["messages"][2]["weight"] == 1

    def test_the_same_person_is_the_same_placeholder_everywhere(self) -> None:
        redacted = redactor().line(line())
        placeholder = redacted["messages"][4]["content"].removeprefix("Done, ").removesuffix(".")
        assert placeholder.startswith("[EMAIL_")
        assert placeholder in redacted["messages"][1]["content"][0]["text"]
        assert redacted["messages"][1]["name"] == placeholder.strip("[]")
        assert redactor().text(f"Mail ANN.LEE@example.com or {PHONE} or (212) 555-2368").count(placeholder) == 1

    def test_another_dataset_has_other_placeholders(self) -> None:
        assert redactor().text(EMAIL) != Redactor(KINDS, b"another").text(EMAIL)
        assert redactor().text(EMAIL) == redactor().text(EMAIL)

    def test_arguments_that_are_no_json_are_texts(self) -> None:
        call = {"function": {"name": "f", "arguments": f"{{broken {EMAIL}"}}
        redacted = redactor().line({"messages": [{"role": "assistant", "tool_calls": [call]}]})
        assert EMAIL not in json.dumps(redacted)

    def test_arguments_without_any_keep_their_bytes(self) -> None:
        call = {"function": {"name": "f", "arguments": '{"a":1,   "b":2}'}}
        redacted = redactor().line({"messages": [{"role": "assistant", "tool_calls": [call]}]})
        assert redacted["messages"][0]["tool_calls"][0]["function"]["arguments"] == '{"a":1,   "b":2}'

    def test_arguments_with_half_a_character_can_be_written(self) -> None:
        call = {"function": {"name": "f", "arguments": json.dumps({"to": EMAIL, "text": "\ud83d"})}}
        redacted = redactor().line({"messages": [{"role": "assistant", "tool_calls": [call]}]})
        arguments = redacted["messages"][0]["tool_calls"][0]["function"]["arguments"]
        assert EMAIL not in arguments
        assert json.loads(arguments.encode())["text"] == "\ud83d"

    def test_only_the_kinds_that_are_wanted(self) -> None:
        wanted = Redactor(("email",), KEY)
        assert wanted.text(f"{EMAIL} {ADDRESS}").endswith(ADDRESS)
        nothing = Redactor((), KEY)
        assert nothing.line(line()) == line()

    def test_counts_what_it_took(self) -> None:
        each = redactor()
        each.line(line())
        assert each.counts["email"] == 6
        assert each.counts["ip_address"] == 1

    def test_a_second_time_changes_nothing(self) -> None:
        once = redactor().line(line())
        assert redactor().line(once) == once
