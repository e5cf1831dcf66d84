"""Every text in the drawing of a model lies within its box."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ecgmoe_edge.converters.cost_breakdown import CostBreakdown, PartCost, cost_breakdown
from ecgmoe_edge.converters.drawing import svg
from ecgmoe_edge.converters.file_contents import ModelSummary
from ecgmoe_edge.converters.text_width import shortened, text_width
from ecgmoe_edge.runtime import open_bundle, shipped_bundle

FONT = 12
INPUTS = ("beat", "features", "rr_sequence")
LONG = "a_tensor_of_a_model_that_was_named_by_somebody_with_time_and_a_wide_screen_WWWWWWWWWWWWWWWWWW"


def shares_of(experts: int) -> dict[str, list[float]]:
    return {path: [1.0] + [0.0] * (experts - 1) for path in ("morphology", "rhythm")}


def scaled_costs(scale: int, *tails: str) -> CostBreakdown:
    """Return a cost breakdown whose figures are multiplied by `scale`."""
    names = ("trunk", *(f"{path}_{k}" for path in ("morphology", "rhythm") for k in range(4)), *tails)
    parts = tuple(PartCost(name, {}, 348_656 * scale, 350_144 * scale, 4_252_160 * scale, 9) for name in names)
    return CostBreakdown(parts, 0, 0, 1, 0)


def boxes(picture: str) -> Iterator[tuple[tuple[float, ...], list[ElementTree.Element]]]:
    """Yield left, top, width and height of each box, and its texts, which follow the box in the file."""
    items = [item for item in ElementTree.fromstring(picture) if item.tag.endswith(("rect", "text"))]  # noqa: S314, our own
    starts = [k for k, item in enumerate(items) if item.tag.endswith("rect")]
    for start, stop in zip(starts, [*starts[1:], len(items)], strict=True):
        place = tuple(float(items[start].attrib[name]) for name in ("x", "y", "width", "height"))
        yield place, items[start + 1 : stop]


def assert_texts_fit(picture: str) -> None:
    root = ElementTree.fromstring(picture)  # noqa: S314, our own
    width, title = float(root.attrib["width"]), next(item for item in root if item.tag.endswith("text"))
    assert float(title.attrib["x"]) + text_width(str(title.text), FONT) <= width
    found = list(boxes(picture))
    assert len(found) > 5
    for (left, top, wide, high), texts in found:
        assert left + wide < width
        for text in texts:
            x, y = float(text.attrib["x"]), float(text.attrib["y"])
            assert left < x
            assert x + text_width(str(text.text), FONT) < left + wide, text.text
            assert top + FONT < y < top + high - 3
    columns = sorted({(left, wide) for (left, _, wide, _), _ in found})
    assert all(left + wide < right for (left, wide), (right, _) in pairwise(columns))


@pytest.mark.parametrize("kind", ["float_onnx", "int8_onnx", "if_tflite"])
def test_every_text_lies_in_its_box(kind: str, request: pytest.FixtureRequest) -> None:
    summary: ModelSummary = request.getfixturevalue(kind)
    assert_texts_fit(svg(INPUTS, ("beat", "rhythm"), cost_breakdown(summary.path), shares_of(4), "a student, int8"))


def test_every_text_of_the_shipped_bundle_lies_in_its_box(tmp_path: Path) -> None:
    files = open_bundle(shipped_bundle())
    path = tmp_path / files.manifest.model.file
    path.write_bytes(files.read(files.manifest.model.file))
    shares = shares_of(files.manifest.model.experts["morphology"])
    costs = cost_breakdown(path)
    picture = svg(INPUTS, tuple(files.manifest.classes), costs, shares, f"{files.manifest.name}, float32")
    assert_texts_fit(picture)
    assert "…" not in picture


@pytest.mark.parametrize("scale", [1, 100, 10**6])
def test_large_models_fit(scale: int) -> None:
    picture = svg(INPUTS, ("beat", "rhythm"), scaled_costs(scale, "tail", "tail of rhythm"), shares_of(4), "large")
    assert_texts_fit(picture)
    assert ("…" in picture) == (scale == 10**6)


def test_long_names_are_shortened_with_the_full_name_as_tooltip() -> None:
    tail = f"tail of {LONG}"
    picture = svg((LONG, "beat"), (LONG, "beat"), scaled_costs(1, tail), {}, f"{LONG} <{LONG}> {LONG}, int8")
    assert_texts_fit(picture)
    titles = {item.text for item in ElementTree.fromstring(picture).iter() if item.tag.endswith("title")}  # noqa: S314, our own
    assert {LONG, f"{LONG} logits", tail} <= titles
    assert "a_tensor_of" in picture.split("<title>")[1].split("</text>")[1]


def test_boxes_of_short_names_are_narrower_than_those_of_long_ones() -> None:
    picture = svg(("beat",), ("beat",), scaled_costs(1, "tail"), shares_of(4), "x")
    widths = [place[2] for place, _ in boxes(picture)]
    assert min(widths) < 150 < max(widths)


@pytest.mark.parametrize("font", ["DejaVuSans.ttf", "DejaVuSans-Bold.ttf"])
def test_no_text_is_wider_than_estimated(font: str) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    from matplotlib.ft2font import FT2Font

    held = FT2Font(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / font))
    held.set_size(1000, 72)
    for character in (*map(chr, range(32, 127)), "…"):
        advance = held.load_char(ord(character)).linearHoriAdvance / 65536
        assert advance - 1 <= text_width(character, 1000) <= advance + 200, character


def test_a_text_is_shortened_to_the_given_width() -> None:
    assert shortened("short", FONT, 100) == "short"
    for room in (20, 50, 100, 300):
        assert text_width(shortened(LONG, FONT, room), FONT) <= room
    assert shortened(LONG, FONT, 1) == "…"
    assert text_width("心电图", FONT) >= 3 * FONT
