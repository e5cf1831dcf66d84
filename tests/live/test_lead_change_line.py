"""The terminal line of a lead change."""

from __future__ import annotations

from ecgmoe_edge.live.sinks.terminal import line_of
from ecgmoe_edge.streaming.events import LeadChange


def test_the_line_lists_usable_leads_and_why_others_are_unusable() -> None:
    change = LeadChange(5000, 20.0, ("V1",), {"II": "noise"}, broken=False)
    assert line_of(change).split("  ")[-1] == "leads: V1; not II (noise)"
    nothing = LeadChange(5000, 20.0, (), {"II": "off", "V1": "flat"}, broken=True)
    assert line_of(nothing).split("  ")[-1] == "leads: none; not II (off), V1 (flat)"
    assert line_of(LeadChange(5000, 20.0, ("II", "V1"), {}, broken=False)).endswith("leads: II, V1")
