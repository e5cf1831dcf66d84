"""The generated files of the C monitor, with their texts."""

from __future__ import annotations

from pathlib import Path

from ecgmoe_edge.streaming.c_tables import fill, sizes

PACKAGE = Path(__file__).parents[2]
MONITOR = PACKAGE / "firmware_bridge" / "firmware" / "monitor"
EXTENSION = PACKAGE / "streaming" / "c_engine"


def generated_files() -> dict[Path, str]:
    """Return the text of each generated file."""
    return {MONITOR / "ecgmoe_sizes.h": sizes.header(), EXTENSION / "_fill.h": fill.source()}
