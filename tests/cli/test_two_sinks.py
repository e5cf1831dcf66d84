"""`stream` to stdout and a file at once: a failure of one does not affect the other."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from installed_command import COMMAND, SHIPPED_SAMPLES, Cli, wait_for_port


def piped(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run `command` in bash; `E` in it is the installed command."""
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "E": str(COMMAND)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_stream_shows_its_events_and_writes_them_to_a_file(cli: Cli) -> None:
    cli.start("replay", "calibration", "--pty", "holter", "--speed", "0")
    done = cli("stream", "--port", wait_for_port(cli, "holter"), "--events", "night.jsonl")
    assert done.code == 0, done.err
    events = [json.loads(line) for line in (cli.folder / "night.jsonl").read_text().splitlines()]
    assert (events[-1]["event"], events[-1]["samples"]) == ("end", SHIPPED_SAMPLES)
    assert len(done.out.splitlines()) == len(events) + 1  # one more: the header
    assert events[-1]["link"]["sinks"]["night.jsonl"] == {"dropped": 0, "failure": None}


@pytest.mark.parametrize(
    ("stdout", "code", "words"),
    [
        ("> /dev/full", 3, "No more events for stdout: No space left on device."),
        ("| head -n 3 > /dev/null", 141, ""),
    ],
)
def test_the_event_file_is_complete_if_stdout_fails(cli: Cli, stdout: str, code: int, words: str) -> None:
    cli.start("replay", "calibration", "--pty", "holter", "--speed", "0")
    wait_for_port(cli, "holter")
    done = piped(cli.folder, f'"$E" stream --port holter --events night.jsonl {stdout}; exit ${{PIPESTATUS[0]}}')
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert "Broken" not in done.stderr
    end = json.loads((cli.folder / "night.jsonl").read_text().splitlines()[-1])
    assert (end["event"], end["samples"], end["lost"]) == ("end", SHIPPED_SAMPLES, 0)
    assert end["link"]["sinks"]["stdout"]["failure"]


def test_a_reader_that_pauses_receives_every_event(cli: Cli) -> None:
    done = piped(cli.folder, '"$E" demo --speed 0 --json | (sleep 8; cat)')
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1]["event"] == "end"
    assert sum(event["event"] == "beat" for event in events) == sum(events[-1]["beats"].values()) >= 400
    assert events[-1]["lost"] == 0


def test_an_existing_file_is_not_overwritten(cli: Cli) -> None:
    cli.start("replay", "calibration", "--pty", "holter", "--speed", "1")
    port = wait_for_port(cli, "holter")
    (cli.folder / "night.jsonl").write_text("yesterday")
    done = cli("stream", "--port", port, "--events", "night.jsonl")
    assert done.code == 2
    assert "already exists" in done.err
    assert (cli.folder / "night.jsonl").read_text() == "yesterday"
