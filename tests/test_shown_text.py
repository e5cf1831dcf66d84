from __future__ import annotations

import json

import pytest

from ecgmoe_edge.shown_text import shown, shown_in_json


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("II", "II"),
        ("µV, Ableitung für Höhe, 心電図, קצב", "µV, Ableitung für Höhe, 心電図, קצב"),
        ("II\x1b[2J\x1b[31m", r"II\x1b[2J\x1b[31m"),
        ("II\nerror: forged", r"II\nerror: forged"),
        ("V1\r\t\x00\x7f\x9b", r"V1\r\t\x00\x7f\x9b"),
        ("abc\u202egnp.exe", r"abc\u202egnp.exe"),
        ("a\u200bb\u2066c\u2028d\ufeff", r"a\u200bb\u2066c\u2028d\ufeff"),
        ("caf\udce9", r"caf\udce9"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_control_and_invisible_characters_are_escaped(text: str, seen: str) -> None:
    assert shown(text) == seen
    seen.encode()


def test_line_ends_are_kept_on_request() -> None:
    assert shown("a\n\tb\x1b", lines=True) == "a\n\tb\\x1b"


@pytest.mark.parametrize("text", ["\x1b[2J", "\x9b\x7f\u202e\u2028", 'a\nb\t"q\\', "caf\udce9", "\U000e0041\U0001f600"])
def test_escaped_json_decodes_to_the_same_values(text: str) -> None:
    document = shown_in_json(json.dumps({"name": text}, indent=2, ensure_ascii=False))
    assert json.loads(document) == {"name": text}
    assert all(character == "\n" or character.isprintable() for character in document)
