"""A virtual Holter and the monitor in two processes, connected by a pseudo-terminal."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from installed_command import SHIPPED_SAMPLES, Cli, wait_for_port

from ecgmoe_edge.firmware_bridge import SerialLink


def count(events: list[dict[str, Any]]) -> Counter[str]:
    return Counter(event["event"] for event in events)


def test_a_replayed_recording_gives_all_its_events(cli: Cli) -> None:
    replay = cli.start("replay", "calibration", "--pty", "holter", "--speed", "0", "--json")
    port = wait_for_port(cli, "holter")
    done = cli("stream", "--port", port, "--json")
    assert done.code == 0, done.err
    events = done.events
    end = events[-1]
    assert end["event"] == "end"
    assert (end["samples"], end["lost"], end["gaps"]) == (SHIPPED_SAMPLES, 0, 0)
    beats = [event for event in events if event["event"] == "beat"]
    assert len(beats) == sum(end["beats"].values()) >= 400
    assert {beat["label"] for beat in beats} <= {"N", "S", "V", "F", "?"}
    assert end["delay_ms"]["p50"] <= 300
    assert replay.finish().code == 0


def test_a_restart_of_the_device_is_reported_and_the_stream_continues(cli: Cli) -> None:
    first = cli.start("replay", "calibration", "--pty", "holter", "--speed", "20")
    port = wait_for_port(cli, "holter")
    stream = cli.start("stream", "--port", port, "--json")
    stream.wait_for(lambda events: count(events)["beat"] >= 20)
    first.process.kill()
    stream.wait_for(lambda events: count(events)["stall"] >= 1)
    before = count(stream.events())["beat"]
    cli.start("replay", "calibration", "--pty", "holter", "--speed", "20")
    events = stream.wait_for(lambda events: count(events)["beat"] >= before + 20)
    seen = count(events)
    assert (seen["stall"], seen["reconnect"]) == (1, 1)
    assert seen["gap"] >= 1
    samples = [event["sample"] for event in events if event["event"] == "beat"]
    assert samples == sorted(samples)
    stream.process.send_signal(signal.SIGINT)
    done = stream.finish()
    assert done.code == 0, done.err
    assert count(done.events)["end"] == 1
    assert done.events[-1]["event"] == "end"


def test_lost_and_damaged_frames_are_counted(cli: Cli) -> None:
    replay = cli.start(
        "replay", "calibration", "--pty", "holter", "--speed", "0", "--drop", "0.02", "--corrupt", "0.02", "--json"
    )
    port = wait_for_port(cli, "holter")
    end = cli("stream", "--port", port, "--json").events[-1]
    assert end["event"] == "end"
    assert end["lost"] > 0
    assert end["gaps"] > 0
    assert end["samples"] + end["lost"] == SHIPPED_SAMPLES
    assert replay.finish().code == 0


def test_the_stream_continues_when_an_unplugged_device_returns(cli: Cli) -> None:
    cli.start("replay", "calibration", "--pty", "holter", "--speed", "100", "--unplug", "100", "--unplug-for", "1")
    port = wait_for_port(cli, "holter")
    done = cli("stream", "--port", port, "--json")
    assert done.code == 0, done.err
    seen = count(done.events)
    assert seen["reconnect"] == 1
    assert seen["gap"] >= 1
    assert seen["end"] == 1


def test_a_csv_is_played_and_streamed(cli: Cli, simulated_ecg: Any) -> None:
    ecg = simulated_ecg(30.0, fs=250.0)
    np.savetxt(cli.folder / "mine.csv", ecg.signal * 1000, fmt="%.3f")
    cli.start("replay", "mine.csv", "--fs", "250", "--unit", "uV", "--pty", "holter", "--speed", "0")
    port = wait_for_port(cli, "holter")
    done = cli("stream", "--port", port, "--json")
    assert done.code == 0, done.err
    assert done.events[-1]["samples"] == ecg.signal.size
    beats = [event for event in done.events if event["event"] == "beat"]
    assert abs(len(beats) - ecg.r_peaks.size) <= 1


def test_a_wfdb_record_is_played_and_streamed_for_a_while(cli: Cli, mitdb: Path) -> None:
    cli.start("replay", mitdb / "208", "--pty", "holter", "--speed", "20")
    port = wait_for_port(cli, "holter")
    done = cli("stream", "--port", port, "--seconds", "3")
    assert done.code == 0, done.err
    assert "V" in done.out
    assert "lost" in done.err


def test_the_limits_of_a_rhythm_are_options(cli: Cli) -> None:
    cli.start("replay", "calibration", "--pty", "holter", "--speed", "0")
    given = ("--pause", "1.1", "--bradycardia", "180", "--tachycardia", "200", "--v-run", "4")
    done = cli("stream", "--port", wait_for_port(cli, "holter"), "--json", *given)
    assert done.code == 0, done.err
    limits = {event["label"]: event["limit"] for event in done.events if event["event"] == "rhythm"}
    assert limits["bradycardia"] == "< 180 bpm over 8 beats"
    assert limits["pause"] == "RR > 1100 ms"
    assert "tachycardia" not in limits


def test_a_device_is_recognised_by_listening_and_streamed_completely(cli: Cli) -> None:
    cli.start("replay", "calibration", "--pty", "holter", "--speed", "100", "--jitter", "1")
    port = wait_for_port(cli, "holter")
    done = cli("stream", "--port", port, "--protocol", "auto", "--json")
    assert done.code == 0, done.err
    assert count(done.events)["clock"] >= 1
    assert f"{port}: ecgmoe at 115200 baud." in done.err
    assert (done.events[-1]["samples"], done.events[-1]["lost"]) == (SHIPPED_SAMPLES, 0)
    assert done.events[-1]["link"]["limits"]


def test_a_replay_can_use_another_protocol_with_the_scale_of_the_user(cli: Cli) -> None:
    given = ("--protocol", "openview-ads1292r", "--uv-per-lsb", "4")
    cli.start("replay", "calibration", "--pty", "holter", "--speed", "0", *given)
    done = cli("stream", "--port", wait_for_port(cli, "holter"), *given, "--give-up", "0.2", "--json")
    assert done.code == 3, done.err  # the device sends no end
    assert "did not come back" in done.err
    end = done.events[-1]
    assert end["link"]["rate_hz"] == 125
    assert end["duration_s"] == pytest.approx(SHIPPED_SAMPLES / 360, abs=1.0)
    assert sum(end["beats"].values()) >= 400
    assert "no counter" in end["link"]["limits"]


def test_a_second_replay_on_the_same_link_is_refused(cli: Cli) -> None:
    cli.start("replay", "calibration", "--pty", "holter", "--speed", "1")
    wait_for_port(cli, "holter")
    done = cli("replay", "calibration", "--pty", "holter")
    assert done.code == 3
    assert "another replay that is still running" in done.err
    assert "Traceback" not in done.err


def test_the_stream_ends_with_totals_if_the_device_does_not_return(cli: Cli) -> None:
    replay = cli.start("replay", "calibration", "--pty", "holter", "--speed", "20")
    stream = cli.start("stream", "--port", wait_for_port(cli, "holter"), "--give-up", "0.5", "--json")
    stream.wait_for(lambda events: count(events)["beat"] >= 5)
    replay.process.kill()
    done = stream.finish()
    assert done.code == 3
    assert done.events[-1]["event"] == "end"
    assert "did not come back within 0.5 s" in done.err


def test_missing_samples_of_a_one_column_csv_keep_their_time(cli: Cli) -> None:
    rows = [str(0.1 * (row % 200 == 0)) for row in range(10_000)]
    rows[2000:4500] = [""] * 2500
    (cli.folder / "blank.csv").write_text("II\n" + "\n".join(rows) + "\n")
    cli.start("replay", "blank.csv", "--fs", "250", "--pty", "holter", "--speed", "0")
    done = cli("stream", "--port", wait_for_port(cli, "holter"), "--json")
    assert done.code == 0, done.err
    assert (done.events[-1]["samples"], done.events[-1]["unusable"]) == (10_000, 2500)


def test_a_stream_stops_after_the_requested_seconds_of_signal_at_any_speed(cli: Cli) -> None:
    cli.start("replay", "calibration", "--pty", "holter", "--speed", "20")
    port = wait_for_port(cli, "holter")
    done = cli("stream", "--port", port, "--seconds", "12.5", "--json")
    assert done.code == 0, done.err
    end = done.events[-1]
    assert (end["samples"], end["lost"], end["duration_s"]) == (4500, 0, 12.5)
    assert end["link"]["samples"] >= 4500


def test_known_losses_count_as_signal(cli: Cli) -> None:
    cli.start("replay", "calibration", "--pty", "holter", "--speed", "20", "--drop", "0.3")
    done = cli("stream", "--port", wait_for_port(cli, "holter"), "--seconds", "20", "--json")
    assert done.code == 0, done.err
    assert done.events[-1]["lost"] > 0
    assert done.events[-1]["duration_s"] == pytest.approx(20.0, abs=1.0)


def test_a_replay_as_fast_as_it_is_read_waits_for_a_slow_reader(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = SerialLink.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "queue_samples", 1000)
    cli.start("replay", "calibration", "--pty", "holter", "--speed", "0")
    done = cli("stream", "--port", wait_for_port(cli, "holter"), "--json")
    assert done.code == 0, done.err
    end = done.events[-1]
    assert (end["samples"], end["lost"], end["gaps"]) == (SHIPPED_SAMPLES, 0, 0)
    assert end["link"]["queue_high_water"] <= 1000
    assert count(done.events)["falling_behind"] == 0


@pytest.mark.parametrize("fs", ["64", "2000"])
def test_the_replay_ends_if_the_stream_refuses_the_recording(cli: Cli, fs: str) -> None:
    (cli.folder / "slow.csv").write_text("II\n" + "\n".join(str(0.1 * (row % 60 == 0)) for row in range(5000)) + "\n")
    replay = cli.start("replay", "slow.csv", "--fs", fs, "--pty", "holter", "--speed", "1", "--stall", "0")
    done = cli("stream", "--port", wait_for_port(cli, "holter"), "--json")
    assert done.code == 3
    assert "100 to 1000 Hz" in done.err
    assert done.out == "", "no stall before a refusal"
    ended = replay.finish(30.0)
    assert ended.code == 0
    assert "the replay ends" in ended.err


@pytest.mark.parametrize(
    "words",
    [
        "demo --speed 1e-300",
        "demo --speed 1e300",
        "stream --port x --baud 2147483648",
        "stream --port x --baud 0",
        "stream --port x --seconds 1e-300",
        "stream --port x --seconds 1e300",
        "stream --port x --give-up 1e300",
        "stream --port x --uv-per-lsb 1e-300",
        "stream --port x --fs 1e9",
        "stream --port x --pause 1e-300",
        "stream --port x --v-run 99999999999999999999",
        "stream --port x --tachycardia 1e300",
        "replay calibration --seed -1",
        "replay calibration --seed 99999999999999999999999",
        "replay calibration --fs 1e-300",
        "replay calibration --fs 1e300",
        "replay calibration --stall 1e300",
        "replay calibration --unplug-for 1e300",
        "replay calibration --device-fs 0",
        "replay calibration --uv-per-lsb 1e-300",
        "replay calibration --jitter 1e300",
        "profile --seconds 1e300",
        "profile --seconds 1e-300",
        "profile --chunk-ms 1e300",
        "profile --chunk-ms 1e-300",
    ],
)
def test_a_number_outside_its_limits_is_a_usage_error_without_output(cli: Cli, words: str) -> None:
    done = cli(*words.split())
    assert (done.code, done.out) == (2, "")
    assert "Traceback" not in done.err
    assert done.err
