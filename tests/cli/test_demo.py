from __future__ import annotations

import json

from installed_command import Cli


def test_the_demo_ends_with_the_end_event_and_a_summary(cli: Cli) -> None:
    done = cli.installed("demo", "--speed", "0")
    assert done.code == 0, done.err
    end = json.loads(done.out.splitlines()[-1])
    assert end["event"] == "end"
    assert (end["samples"], end["lost"]) == (108_000, 0)
    assert sum(end["beats"].values()) >= 400
    assert end["beats"]["V"] >= 50  # about every third beat of record 208 is ventricular
    assert 80 <= end["mean_heart_rate_bpm"] <= 120
    assert end["delay_ms"]["p50"] <= 300
    assert end["delay_ms"]["p95"] <= 700  # search-back finds 5 % of the beats of this record
    assert len(done.out.splitlines()) > 400
    assert "108,000" in done.err or "108000" in done.err


def test_the_demo_can_print_all_events_as_json_lines(cli: Cli) -> None:
    done = cli("demo", "--speed", "0", "--json")
    assert done.code == 0, done.err
    assert {"beat", "rhythm"} <= {event["event"] for event in done.events}
    assert done.events[-1]["event"] == "end"
