"""Another module in place of pyserial, or another program at the port: a sentence says what to do."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ecgmoe_edge.firmware_bridge import PortInfo, open_port
from ecgmoe_edge.firmware_bridge.open_port import open_error

ANOTHER = {
    "without Serial": ("serial/__init__.py", "from . import model\n", "serial/model.py", ""),
    "one file": ("serial.py", "print('my test')\n"),
    "broken": ("serial.py", "print 'hello'\n"),
    "needs what is not there": ("serial/__init__.py", "import future_that_is_not_there\n"),
    "without tools": ("serial/__init__.py", "Serial = SerialException = object\n"),
}


def command(folder: Path, words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder), *sys.path])
    return subprocess.run(
        [sys.executable, "-m", "ecgmoe_edge", *words.split()],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("kind", ANOTHER)
def test_another_module_named_serial_is_reported_with_its_path(tmp_path: Path, kind: str) -> None:
    files = ANOTHER[kind]
    for name, content in zip(files[::2], files[1::2], strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    for words in ("ports", "stream --port ./nothing"):
        done = command(tmp_path, words)
        assert (done.returncode, done.stdout) == (3, ""), done.stderr
        assert done.stderr.startswith(f"error: The module `serial` at {tmp_path}/serial"), done.stderr
        assert "`pip uninstall serial`, then `pip install --force-reinstall pyserial`" in done.stderr
        assert "rename it" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_commands_without_a_port_work_without_pyserial(tmp_path: Path) -> None:
    (tmp_path / "serial.py").write_text("")
    assert command(tmp_path, "--version").returncode == 0
    assert command(tmp_path, "profiles").returncode == 0
    done = command(tmp_path, "profile --seconds 2")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("brltty", "sudo apt remove brltty"),
        ("ModemManager", 'ENV{ID_MM_DEVICE_IGNORE}="1"'),
        ("agetty", "serial-getty@ttyUSB0"),
        ("gpsd", "gpsd.socket"),
    ],
)
@pytest.mark.parametrize("seen", [True, False])
def test_a_service_that_uses_the_port_is_reported_with_advice(
    program: str, words: str, seen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    holders = [f"{program}, process 411"] if seen else []
    monkeypatch.setattr(open_port, "holders_of", lambda port: holders)
    monkeypatch.setattr(open_port, "running_programs", lambda: {program, "bash"})
    message = str(open_error("/dev/ttyUSB0", 115200, OSError(errno.EBUSY, "busy")))
    assert words in message
    assert "in use by another program" in message


def test_the_error_for_a_missing_port_names_brltty_only_if_there_is_no_usb_port(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    missing = OSError(errno.ENOENT, "no such file")
    monkeypatch.setattr(open_port, "list_serial_ports", lambda: [PortInfo("/dev/ttyS0", "")])
    assert "sudo apt remove brltty" in str(open_error("/dev/ttyUSB0", 115200, missing))
    assert "brltty" not in str(open_error("./holter", 115200, missing))
    usb = [PortInfo("/dev/ttyACM0", "", vendor_id=0x2341, product_id=0x0043)]
    monkeypatch.setattr(open_port, "list_serial_ports", lambda: usb)
    assert "brltty" not in str(open_error("/dev/ttyUSB0", 115200, missing))
