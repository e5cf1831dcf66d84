"""Ctrl-C, SIGTERM and a closed terminal end a stream with totals and stop the device; a second one ends at once."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from installed_command import COMMAND, Cli, wait_for_port

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def waiting_in(pipe: int) -> int:
    """Number of bytes that were not read yet."""
    return int(struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, struct.pack("i", 0)))[0])


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_stream_with_its_totals_and_stops_the_device(cli: Cli, number: signal.Signals) -> None:
    cli.start("replay", "calibration", "--pty", "holter", "--speed", "20")
    stream = cli.start("stream", "--port", wait_for_port(cli, "holter"), "--json")
    stream.wait_for(lambda events: sum(event["event"] == "beat" for event in events) >= 5)
    stream.process.send_signal(number)
    if number == signal.SIGHUP:
        stream.process.send_signal(number)  # a closed terminal may send it twice
    done = stream.finish()
    assert done.code == 0, done.err
    assert done.events[-1]["event"] == "end"


def test_a_stream_under_nohup_continues_without_its_terminal(cli: Cli) -> None:
    cli.start("replay", "calibration", "--pty", "holter", "--speed", "50")
    port = wait_for_port(cli, "holter")
    with subprocess.Popen(
        ["nohup", str(COMMAND), "stream", "--port", port, "--json", "--seconds", "60"],
        cwd=cli.folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as stream:
        assert stream.stdout is not None
        assert stream.stdout.readline()
        stream.send_signal(signal.SIGHUP)
        last = stream.stdout.read().splitlines()[-1]
    assert b'"event":"end"' in last
    assert b'"duration_s":60.0' in last
    assert stream.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_at_once_even_if_the_output_is_blocked(cli: Cli, number: signal.Signals) -> None:
    cli.start("replay", "calibration", "--pty", "holter", "--speed", "0")
    port = wait_for_port(cli, "holter")
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    with subprocess.Popen(
        [str(COMMAND), "stream", "--port", port, "--json"],
        cwd=cli.folder,
        env=ENVIRONMENT,
        stdout=writing,
        stderr=subprocess.DEVNULL,
    ) as stream:
        os.close(writing)
        deadline = time.monotonic() + 60.0
        while waiting_in(reading) < 3000 and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)  # the pipe is full
        stream.send_signal(number)
        time.sleep(1.0)
        assert stream.poll() is None, "the first waits for the reader"
        stream.send_signal(number)
        assert stream.wait(1.0) == 128 + number
    os.close(reading)


def test_a_second_signal_ends_at_once_even_if_the_model_never_returns(cli: Cli) -> None:
    code = (
        "import signal, sys, os, time, ctypes\n"
        "from ecgmoe_edge.cli.signals import stopping_on_signals\n"
        "with stopping_on_signals(lambda: print('stopped', flush=True)):\n"
        "    print('begun', flush=True)\n"
        "    while True:\n"
        "        ctypes.CDLL(None).poll(None, 0, 60000)\n"  # in C, as inference is
    )
    with subprocess.Popen([sys.executable, "-c", code], env=ENVIRONMENT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == b"stopped\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(2.0) == 130


def test_a_terminated_replay_removes_its_link(cli: Cli) -> None:
    replay = cli.start("replay", "calibration", "--pty", "holter", "--speed", "1")
    link = Path(wait_for_port(cli, "holter"))
    replay.process.send_signal(signal.SIGTERM)
    assert replay.finish().code == 128 + signal.SIGTERM
    assert not os.path.lexists(cli.folder / link)


@pytest.mark.parametrize(
    ("command", "module"),
    [
        ("demo --speed 1", "signal"),
        ("demo --speed 1", "typer"),
        ("demo --speed 1", "ecgmoe_edge.cli.app"),
        ("demo --speed 1", "numpy"),
        ("demo --speed 1", "serial"),
        ("demo --speed 1", "ecgmoe_edge.streaming.decision"),
        ("stream --port ./none", "ecgmoe_edge.cli.live_run"),
        ("replay calibration", "numpy"),
        ("profiles", "ecgmoe_edge.device_profiles.profile"),
    ],
)
def test_ctrl_c_during_the_imports_prints_no_traceback(cli: Cli, command: str, module: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", str(COMMAND), *command.split()],
        cwd=cli.folder,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        imported = ""
        while imported != module:  # Python prints one line for each module, after it has imported the module
            line = process.stderr.readline()
            assert line, f"{module} was not imported"
            imported = line.rpartition("|")[2].strip()
        process.send_signal(signal.SIGINT)
        errors = [line for line in process.stderr if not line.startswith("import time:")]
    assert not any("Traceback" in line for line in errors), errors
    assert process.returncode in (130, 0, 3), "0 and 3: the command had ended, or had begun and was stopped"
