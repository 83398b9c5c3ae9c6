import pytest

from gateway.datasets.texts import bare, has, script_of


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Where is my parcel?", "latin"),
        ("Où est mon colis, s'il vous plaît ?", "latin"),
        ("Где моя посылка?", "cyrillic"),
        ("Πού είναι το δέμα μου;", "greek"),
        ("أين طردي من فضلك؟", "arabic"),
        ("איפה החבילה שלי?", "hebrew"),
        ("मेरा पार्सल कहाँ है?", "indic"),
        ("พัสดุของฉันอยู่ที่ไหน", "thai"),
        ("我的包裹在哪里", "han"),
        ("荷物はどこですか", "kana"),
        ("내 소포는 어디에 있나요?", "hangul"),
        ("The word 日本 means Japan in English", "latin"),
        ("", None), ("123 + 456", None), ("ok", None), ("é", None), ("🙂🙂🙂", None),
    ],
)  # fmt: skip
def test_script(text: str, script: str | None) -> None:
    assert script_of(text) == script


def test_quotation_in_the_other_script() -> None:
    assert has("«Parcel» означает посылка", "latin")
    assert not has("Это означает посылка", "latin")


def test_bare_text() -> None:
    assert bare("Hello, World! 42\n") == b"helloworld"
    assert bare("Grüße 日本") == "grüße日本".encode()
