"""Escapes text from outside (names of leads, devices and files, content of manifests) for a terminal or JSON."""

from __future__ import annotations

import re
import unicodedata

# Unicode categories of characters that are invisible and can change the text around them: control, format
# (bidirectional marks, zero width), surrogates (file names that are not UTF-8), private use, line and paragraph
# separators.
_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
_SUSPECT = re.compile("[^\x20-\x7e]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def shown(text: object, *, lines: bool = False) -> str:
    r"""The text with invisible and control characters escaped, such as `\x1b` or `\u202e`.

    Escaped text cannot move the cursor, hide other text or start a new line.

    Args:
        text: the text.
        lines: keep line ends and tabs, for text of several lines whose parts were escaped before.
    """
    return _SUSPECT.sub(lambda found: _escaped(found.group(), lines), str(text))


def shown_in_json(document: str) -> str:
    """A JSON document with the same characters as JSON escapes; the decoded values do not change."""
    return _SUSPECT.sub(lambda found: _json_escaped(found.group()), document)


def _unseen(character: str) -> bool:
    return unicodedata.category(character) in _UNSEEN


def _escaped(character: str, lines: bool) -> str:
    if (lines and character in "\n\t") or not _unseen(character):
        return character
    if character in _SHORT:
        return _SHORT[character]
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escaped(character: str) -> str:
    if character == "\n" or not _unseen(character):
        return character  # a line end between values; line ends in strings are already escaped
    code = ord(character)
    if code < 0x10000:
        return f"\\u{code:04x}"
    return "".join(
        f"\\u{unit:04x}" for unit in (0xD800 + ((code - 0x10000) >> 10), 0xDC00 + ((code - 0x10000) & 0x3FF))
    )
