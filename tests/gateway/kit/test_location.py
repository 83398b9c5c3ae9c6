"""A URL in a header."""

import pytest

from gateway.kit.location import location


@pytest.mark.parametrize(
    ("url", "written"),
    [
        ("/console/日?a=ä&b=%E6#c", "/console/%E6%97%A5?a=%C3%A4&b=%E6#c"),
        ("/a\r\nset-cookie: b=c", "/a%0D%0Aset-cookie:%20b=c"),
        ("https://id.example/auth?scope=openid+email&state=a-b_c.d~e", "https://id.example/auth?scope=openid+email&state=a-b_c.d~e"),
        ("http://[::1]:8000/x", "http://[::1]:8000/x"),
    ],
)  # fmt: skip
def test_is_ascii_and_says_the_same(url: str, written: str) -> None:
    assert location(url) == written
    assert location(written) == written
