"""Upper estimate of the width of a drawn text without access to a font, and shortening of texts to a width."""

from __future__ import annotations

import unicodedata

# Advance width of each character in DejaVu Sans Bold, in hundredths of the font size, rounded up. It is the widest of
# the common sans-serif fonts.
_ADVANCES = {
    35: " 'ijl",
    40: ",./:;IJ\\|",
    45: "-f",
    50: "!()[]_`rt",
    55: '"*',
    60: "?csz",
    65: "Lx",
    70: "$0123456789EFTaekovy",
    75: "CPSYZbdghnpqu{}",
    80: "ABKRVX",
    85: "#+<=>DGHNOQU^~",
    90: "&",
    95: "w",
    100: "@M…",
    105: "%m",
    115: "W",
}
_HUNDREDTHS = {character: advance for advance, characters in _ADVANCES.items() for character in characters}
_ANY_OTHER = 120  # characters outside ASCII; few of them are wider
_ELLIPSIS = "…"


def text_width(text: str, size: float) -> float:
    """Return an upper estimate of the width of one line of text.

    Args:
        text: the line.
        size: font size; the width has the same unit.
    """
    return size / 100 * sum(map(_advance, text))


def shortened(text: str, size: float, width: float) -> str:
    """Return the text if it fits `width`, else its beginning and its end with an ellipsis between them.

    >>> shortened("route_morphology_of_a_very_long_name", 12, 120)
    'route_…g_name'
    """
    if text_width(text, size) <= width:
        return text
    kept = len(text) - 1
    while kept and text_width(short := _without_middle(text, kept), size) > width:
        kept -= 1
    return short if kept else _ELLIPSIS


def _without_middle(text: str, kept: int) -> str:
    end = kept // 2
    return text[: kept - end] + _ELLIPSIS + text[len(text) - end :]


def _advance(character: str) -> int:
    return 0 if unicodedata.combining(character) else _HUNDREDTHS.get(character, _ANY_OTHER)
