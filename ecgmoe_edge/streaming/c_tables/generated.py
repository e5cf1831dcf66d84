"""The generated files of the C monitor, with their texts."""

from __future__ import annotations

from pathlib import Path

from ecgmoe_edge.streaming.c_tables import sizes

MONITOR = Path(__file__).parents[2] / "firmware_bridge" / "firmware" / "monitor"


def generated_files() -> dict[Path, str]:
    """Return the text of each generated file."""
    return {MONITOR / "ecgmoe_sizes.h": sizes.header()}
