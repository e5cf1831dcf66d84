"""A protocol in another package: one file and one entry point, found without a change to this project."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.firmware_bridge import Samples, Settings
from ecgmoe_edge.firmware_bridge.protocols import (
    all_protocols,
    broken_protocols,
    get_protocol,
    protocol_names,
)
from ecgmoe_edge.firmware_bridge.simulated_stream import simulate

DOC = Path(__file__).parents[2] / "docs" / "protocols.md"


def example() -> str:
    """The example module of the documentation."""
    text = DOC.read_text()
    return text.split("```python title=beeper.py\n")[1].split("```")[0]


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package with the documentation's example, a broken module and a misused name."""
    (tmp_path / "beeper.py").write_text(example())
    (tmp_path / "beeper_broken.py").write_text("raise RuntimeError('no such chip')\n")
    information = tmp_path / "beeper-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: beeper\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        "[ecgmoe_edge.protocols]\n"
        "beeper = beeper:FORMAT\n"
        "broken = beeper_broken:FORMAT\n"
        "misnamed = beeper:FORMAT\n"
        "cyton = beeper:FORMAT\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in ("beeper", "beeper_broken"):
        sys.modules.pop(name, None)


def test_a_third_party_protocol_is_found_and_decodes(distribution: Path) -> None:
    assert "beeper" in protocol_names()
    beeper = get_protocol("beeper")
    assert beeper in all_protocols()
    sent = simulate(beeper, 100)
    decoder = beeper.make_decoder(sent.settings)
    items = decoder.feed(b"beeper v1\r\n" + sent.preamble + b"".join(sent.frames[:50] + sent.frames[53:]))
    assert sum(item.values.shape[1] for item in items if isinstance(item, Samples)) == 97
    assert decoder.counts.lost_samples == 3
    assert beeper.recognise(sent.all_bytes) >= 0.5


def test_a_built_in_protocol_cannot_be_replaced(distribution: Path) -> None:
    assert get_protocol("cyton").description.startswith("OpenBCI")
    assert protocol_names().count("cyton") == 1


def test_a_broken_protocol_is_reported_and_does_not_affect_others(distribution: Path) -> None:
    with pytest.raises(UsageError, match=r"broken .*cannot be loaded: no such chip"):
        get_protocol("broken")
    with pytest.raises(UsageError, match=r"misnamed .*is not a WireFormat of that name"):
        get_protocol("misnamed")
    assert len(broken_protocols()) == 2
    assert "broken" not in {wire_format.name for wire_format in all_protocols()}


def test_without_its_package_the_protocol_is_unknown() -> None:
    with pytest.raises(UsageError, match="No serial protocol is called 'beeper'"):
        get_protocol("beeper")


def test_the_documentation_names_every_protocol() -> None:
    text = DOC.read_text()
    for wire_format in all_protocols():
        assert f"| `{wire_format.name}` |" in text
        assert wire_format.limits in text.replace("\n", " ")
        assert str(wire_format.baud) in text.replace(",", "")
        for need in wire_format.needs:
            assert need in text


def test_settings_are_none_by_default() -> None:
    assert Settings() == Settings(None, None, None)
