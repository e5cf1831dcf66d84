"""Wrong options, damaged files and missing devices give one sentence, an exit code and no traceback."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import serial
from installed_command import Cli, Finished
from wfdb_records import write_wfdb

from ecgmoe_edge.firmware_bridge import list_serial_ports
from ecgmoe_edge.runtime import shipped_bundle


def assert_fails(done: Finished, code: int, *words: str) -> None:
    assert done.code == code, done.err
    assert done.err.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.err
    assert [word for word in words if word not in done.err] == []


@pytest.fixture
def pty_pair() -> tuple[int, str]:
    """The device end of a pseudo-terminal, and the name of the other end."""
    device, port = os.openpty()
    name = os.ttyname(port)
    return device, name


@pytest.fixture
def wfdb_folder(tmp_path: Path) -> Path:
    """A folder with one valid record of 20 s, annotated."""
    pytest.importorskip("wfdb")
    signal = np.zeros((1, 20 * 250))
    beats = np.arange(250, 4800, 220)
    for beat in beats:
        signal[0, beat - 3 : beat + 4] = [0.1, 0.4, 0.8, 1.0, 0.8, 0.4, 0.1]
    return write_wfdb(tmp_path / "records", "r1", signal, 250.0, r_peaks=beats).parent


def test_a_port_that_does_not_exist(cli: Cli) -> None:
    assert_fails(cli("stream", "--port", "/dev/ttyNOWHERE"), 3, "/dev/ttyNOWHERE")


def test_a_port_that_is_busy(cli: Cli, pty_pair: tuple[int, str]) -> None:
    with serial.Serial(pty_pair[1], exclusive=True):
        assert_fails(cli("stream", "--port", pty_pair[1]), 3, pty_pair[1])


def test_a_port_that_sends_random_bytes(cli: Cli, pty_pair: tuple[int, str]) -> None:
    device, port = pty_pair
    stop = threading.Event()

    def babble() -> None:
        rng = np.random.default_rng(0)
        os.set_blocking(device, False)
        while not stop.wait(0.02):
            with contextlib.suppress(BlockingIOError):  # there is no reader yet
                os.write(device, rng.bytes(200))

    talker = threading.Thread(target=babble)
    talker.start()
    try:
        done = cli("stream", "--port", port, "--json", timeout_s=40)
    finally:
        stop.set()
        talker.join()
    assert_fails(done, 3, port)


def test_an_unknown_protocol(cli: Cli, pty_pair: tuple[int, str]) -> None:
    assert_fails(cli("stream", "--port", pty_pair[1], "--protocol", "morse"), 2, "morse", "ecgmoe")


def test_an_unknown_profile(cli: Cli) -> None:
    assert_fails(cli("profiles", "toaster"), 3, "toaster", "generic-cpu")
    assert_fails(cli("export", "--profile", "toaster"), 3, "toaster", "generic-cpu")


def test_a_profile_with_a_misspelt_key(cli: Cli, tmp_path: Path) -> None:
    text = cli("profiles", "jetson").out
    assert json.loads(text)["name"] == "jetson"
    (tmp_path / "mine.toml").write_text('schema = 1\nname = "mine"\ntitel = "Mine"\n')
    assert_fails(cli("profiles", "./mine.toml"), 3, "mine.toml", "titel")


def test_a_missing_bundle(cli: Cli) -> None:
    assert_fails(cli("inspect", "./nothing"), 3, "nothing")


def test_a_bundle_with_a_changed_byte(cli: Cli, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(shipped_bundle(), bundle)
    model = next(path for path in bundle.iterdir() if path.name.startswith("model."))
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    assert_fails(cli("inspect", bundle), 3, model.name)
    assert_fails(cli("profile", "--bundle", bundle), 3, model.name)
    assert_fails(cli("demo", "--bundle", bundle), 3, model.name)


def test_a_bundle_with_an_unknown_key(cli: Cli, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(shipped_bundle(), bundle)
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps({**manifest, "colour": "red"}))
    assert_fails(cli("inspect", bundle), 3, "colour")


@pytest.mark.parametrize("damage", ["no dat", "truncated", "rate 0", "text"])
def test_a_record_that_cannot_be_read(cli: Cli, wfdb_folder: Path, damage: str) -> None:
    header, signal = wfdb_folder / "r1.hea", wfdb_folder / "r1.dat"
    if damage == "no dat":
        signal.unlink()
    elif damage == "truncated":
        signal.write_bytes(signal.read_bytes()[:1000])
    elif damage == "rate 0":
        header.write_text(header.read_text().replace(" 250 ", " 0 ", 1))
    else:
        header.write_text("this is not a header\n")
    assert_fails(cli("evaluate", "--data", wfdb_folder, "--only", "rpeaks"), 3, "r1")
    assert_fails(cli("replay", wfdb_folder / "r1"), 3, "r1")


def test_a_folder_without_records_and_no_folder_at_all(cli: Cli, tmp_path: Path) -> None:
    assert_fails(cli("evaluate", "--data", tmp_path, "--only", "rpeaks"), 3, ".hea")
    assert_fails(cli("evaluate", "--only", "rpeaks", env={"ECGMOE_DATA": ""}), 2, "ECGMOE_DATA")


def test_a_csv_with_text_in_it(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("mV\n" + "0.1\n0.2\n" * 20 + "asystole\n0.3\n")
    assert_fails(cli("replay", "bad.csv", "--fs", "250", "--speed", "0"), 3, "asystole")


def test_a_csv_without_its_rate(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text("0.1\n0.2\n")
    assert_fails(cli("replay", "good.csv"), 2, "--fs")


@pytest.mark.parametrize(
    ("text", "message"), [("II\n", "contains no samples"), ("I,II\n0.1,inf\n", "Line 2, column 2 (II)")]
)
def test_a_csv_that_is_empty_or_has_no_finite_number(cli: Cli, text: str, message: str) -> None:
    (cli.folder / "bad.csv").write_text(text)
    assert_fails(cli("replay", "bad.csv", "--fs", "250", "--speed", "0"), 3, message)


@pytest.mark.parametrize("given", [("--fs", "250"), ("--fs", "nan"), ("--unit", "mV")])
def test_a_rate_or_a_unit_for_a_file_that_is_not_a_csv(cli: Cli, given: tuple[str, str]) -> None:
    done = cli("replay", "calibration", *given)
    assert done.code == 2
    assert "Traceback" not in done.err
    assert given[0] in done.err


@pytest.mark.parametrize(
    "command",
    [
        "stream --port /dev/null --seconds inf",
        "stream --port /dev/null --give-up nan",
        "profile --chunk-ms inf",
        "replay calibration --jitter inf",
        "replay calibration --jitter 1e300",
        "replay calibration --stall-for 1e300",
        "replay calibration --unplug-for nan",
        "replay calibration --speed inf",
        "replay calibration --speed nan",
        "replay calibration --speed=-1",
        "replay calibration --speed 1e-300",
        "replay calibration --unplug=-5",
        "replay calibration --stall 10,inf",
        "demo --speed nan",
    ],
)
def test_an_option_with_an_invalid_number(cli: Cli, command: str) -> None:
    done = cli(*command.split(), timeout_s=30)
    assert done.code == 2, done.err
    assert "Traceback" not in done.err
    assert command.replace("=", " ").split()[-2] in done.err


def test_a_folder_that_cannot_be_written(cli: Cli, wfdb_folder: Path) -> None:
    (cli.folder / "file").write_text("in the way")
    done = cli("evaluate", "--data", wfdb_folder, "--only", "rpeaks", "--annotations", "file/inside", "--jobs", "1")
    assert_fails(done, 3, "file")


@pytest.mark.parametrize(
    ("command", "module", "extra"),
    [
        ("evaluate", "wfdb", "records"),
        ("train", "torch", "train"),
        ("distill", "torch", "train"),
        ("export --profile jetson", "torchao", "export"),
        ("demo", "onnxruntime", "onnx"),
    ],
)
def test_a_missing_extra_is_reported(cli: Cli, command: str, module: str, extra: str) -> None:
    code = f"""
import sys
sys.modules[{module!r}] = None  # as if it were not installed
sys.argv = ["ecgmoe-edge", *{command.split()!r}]
from ecgmoe_edge.cli import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cli.folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert_fails(Finished(done.returncode, done.stdout, done.stderr), 3, f"ecgmoe-edge[{extra}]")


def test_invalid_options_of_a_device(cli: Cli) -> None:
    assert_fails(cli("stream", "--port", "/dev/null", "--leads", "I,,II"), 2, "--leads")
    assert_fails(cli("stream", "--port", "auto", "--protocol", "cyton"), 2, "--port")


def test_invalid_limits_of_a_rhythm(cli: Cli) -> None:
    assert_fails(cli("stream", "--port", "/dev/null", "--asystole", "1.5"), 2, "longer than a pause")
    assert_fails(cli("stream", "--port", "/dev/null", "--bradycardia", "130"), 2, "below tachycardia")


def test_a_missing_scale(cli: Cli, pty_pair: tuple[int, str]) -> None:
    done = cli("stream", "--port", pty_pair[1], "--protocol", "openview-ads1292r")
    assert_fails(done, 2, "--uv-per-lsb")


def test_no_device(cli: Cli) -> None:
    if any(info.usb_id for info in list_serial_ports()):
        pytest.skip("a USB serial device is plugged in")
    assert_fails(cli("stream", "--port", "auto"), 3, "plug the device in")
