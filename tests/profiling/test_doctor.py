"""Findings about recorded boards, about this machine's ports, folders and runtimes, and about the bundle."""

from __future__ import annotations

import json
import os
import stat
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from recorded_tree import write_tree

from ecgmoe_edge.firmware_bridge import PortInfo
from ecgmoe_edge.profiling import doctor
from ecgmoe_edge.profiling.doctor import diagnose, engine_finding, runtime_findings, self_check
from ecgmoe_edge.profiling.findings import Diagnosis, Finding
from ecgmoe_edge.profiling.host_checks import folder_findings, host_findings
from ecgmoe_edge.profiling.port_checks import port_findings
from ecgmoe_edge.streaming import c_engine

CLOCK = "sys/devices/system/clocksource/clocksource0"
CPU = "sys/devices/system/cpu"


@pytest.fixture
def raspberry_pi(tmp_path: Path) -> Path:
    """A simulated Raspberry Pi 5 in powersave that had undervoltage since it started."""
    files = {
        "proc/cpuinfo": "\n\n".join(
            f"processor\t: {core}\nFeatures\t: fp asimd evtstrm aes crc32 atomics asimdhp asimdrdm asimddp"
            for core in range(4)
        ),
        "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
        "proc/meminfo": "MemTotal:  8245040 kB\nMemFree:  200000 kB\nMemAvailable:  6291456 kB",
        "proc/1/comm": "systemd",
        f"{CLOCK}/current_clocksource": "arch_sys_counter",
        f"{CLOCK}/available_clocksource": "arch_sys_counter",
        "sys/devices/platform/soc/soc:firmware/get_throttled": "50000",
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
        "sys/class/thermal/thermal_zone0/temp": "61830",
    }
    for core in range(4):
        files[f"{CPU}/cpu{core}/cpufreq/scaling_governor"] = "powersave"
        files[f"{CPU}/cpu{core}/cpufreq/scaling_driver"] = "cpufreq-dt"
    return write_tree(tmp_path / "pi", files)


@pytest.fixture
def jetson(tmp_path: Path) -> Path:
    """A simulated Jetson that is hot, with one power rail and little free memory."""
    hwmon = "sys/bus/i2c/devices/1-0040/hwmon/hwmon3"
    files = {
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: ARMv8 Processor rev 1 (v8l)\nFeatures\t: fp asimd asimddp i8mm\n"
        "\nprocessor\t: 1\nFeatures\t: fp asimd asimddp",
        "proc/meminfo": "MemAvailable:  102400 kB",
        f"{CLOCK}/current_clocksource": "arch_sys_counter",
        "sys/bus/i2c/devices/1-0040/name": "ina3221",
        f"{hwmon}/in1_label": "VDD_IN",
        f"{hwmon}/in1_input": "5000",
        f"{hwmon}/curr1_input": "900",
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
        "sys/class/thermal/thermal_zone0/temp": "81500",
        "var/lib/nvpmodel/status": "pmode:0001",
        "etc/nvpmodel.conf": "< POWER_MODEL ID=1 NAME=7W >",
    }
    for core in range(6):
        files[f"{CPU}/cpu{core}/cpufreq/scaling_governor"] = "schedutil"
    return write_tree(tmp_path / "jetson", files)


@pytest.fixture
def laptop(tmp_path: Path) -> Path:
    """A simulated x86 laptop with brltty and ModemManager, whose kernel prefers another clock than tsc."""
    return write_tree(
        tmp_path / "laptop",
        {
            "proc/cpuinfo": "processor\t: 0\nmodel name\t: Core i5\nflags\t\t: fpu sse2 avx2 avx_vnni",
            "proc/meminfo": "MemAvailable:  6291456 kB",
            "proc/411/comm": "brltty",
            "proc/412/comm": "ModemManager",
            f"{CLOCK}/current_clocksource": "hpet",
            f"{CLOCK}/available_clocksource": "tsc hpet acpi_pm",
            f"{CPU}/cpu0/cpufreq/scaling_governor": "powersave",
            f"{CPU}/cpu0/cpufreq/scaling_driver": "intel_pstate",
        },
    )


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    assert len({finding.name for finding in findings}) == len(findings)
    return {finding.name: finding for finding in findings}


def not_ok(findings: list[Finding]) -> dict[str, str]:
    """Status of each finding that is not ok; those, and only those, have a mend."""
    assert [finding.name for finding in findings if (finding.status != "ok") != bool(finding.mend)] == []
    return {finding.name: finding.status for finding in findings if finding.status != "ok"}


def test_a_raspberry_pi_in_powersave_gets_the_command_that_changes_the_governor(raspberry_pi: Path) -> None:
    findings = host_findings(raspberry_pi)
    assert not_ok(findings) == {"cpu governor": "remark", "throttling": "remark"}
    found = by_name(findings)
    assert found["cpu governor"].text.startswith("powersave: cpu0, cpu1, cpu2, cpu3;")
    assert "echo performance | sudo tee" in str(found["cpu governor"].mend)
    assert found["throttling"].text == "undervoltage has occurred, throttling has occurred"
    assert "power supply" in str(found["throttling"].mend)
    assert found["processor"].text.startswith("Raspberry Pi 5 Model B Rev 1.0, ")
    assert found["processor"].text.endswith("; has asimd, asimddp, not i8mm")
    assert found["memory"].text == "6144 MiB free"
    assert found["temperature"].text == "cpu-thermal 61.8 C"


def test_a_jetson_reports_rails_and_the_features_of_all_its_cores(jetson: Path) -> None:
    findings = host_findings(jetson)
    assert not_ok(findings) == {"temperature": "remark", "memory": "remark"}
    found = by_name(findings)
    assert found["power rails"].text == "VDD_IN 4.50 W, power mode 7W"
    assert found["processor"].text.endswith("; has asimd, asimddp, not i8mm"), "the second core has no i8mm"
    assert found["cpu governor"].text == "schedutil: 6 cores, cpu0 to cpu5"
    assert found["memory"].text == "100 MiB free, less than 256"


def test_a_laptop_on_another_clock_gets_the_command_and_its_powersave_is_fine(laptop: Path) -> None:
    findings = host_findings(laptop)
    assert not_ok(findings) == {"clock source": "remark"}
    found = by_name(findings)
    assert found["clock source"].mend == f"`echo tsc | sudo tee /{CLOCK}/current_clocksource`"
    assert found["cpu governor"].text == "powersave: cpu0", "intel_pstate raises the frequency in powersave"
    write_tree(laptop, {f"{CLOCK}/available_clocksource": "hpet acpi_pm"})
    mend = str(by_name(host_findings(laptop))["clock source"].mend)
    assert "does not offer tsc" in mend
    assert "tee" not in mend


def test_a_machine_without_sensors_has_no_remark_about_them(tmp_path: Path) -> None:
    findings = host_findings(tmp_path)
    assert not_ok(findings) == {}
    assert [finding.text for finding in findings].count("unavailable") == 6


def test_an_old_processor_is_a_remark(tmp_path: Path) -> None:
    write_tree(tmp_path, {"proc/cpuinfo": "processor\t: 0\nmodel name\t: Atom\nflags\t\t: fpu sse2"})
    assert not_ok(host_findings(tmp_path)) == {"processor": "remark"}
    write_tree(tmp_path, {"proc/cpuinfo": "processor\t: 0\nFeatures\t: half thumb vfp neon vfpv4"})
    assert by_name(host_findings(tmp_path))["processor"].text.endswith("; has neon, not asimd, asimddp, i8mm")


@pytest.mark.parametrize(
    ("limit", "used", "cache", "number"),
    [
        ("memory.max", "memory.current", "inactive_file", str(512 * 2**20)),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file", str(512 * 2**20)),
    ],
)
def test_the_limit_of_a_container_counts_as_its_memory(
    laptop: Path, limit: str, used: str, cache: str, number: str
) -> None:
    folder = "sys/fs/cgroup"
    statistics = str(Path(folder, limit).with_name("memory.stat"))
    files = {f"{folder}/{limit}": number, f"{folder}/{used}": str(448 * 2**20), statistics: f"{cache} {100 * 2**20}"}
    write_tree(laptop, files)
    assert by_name(host_findings(laptop))["memory"].text == "164 MiB free, less than 256"
    write_tree(laptop, {f"{folder}/{limit}": "max"})
    assert by_name(host_findings(laptop))["memory"].text == "6144 MiB free"


def test_programs_that_seize_ports_are_found_with_their_mend(
    laptop: Path, raspberry_pi: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecgmoe_edge.firmware_bridge.ports.list_serial_ports", list)
    found = port_findings(laptop)
    assert not_ok(found) == {"brltty": "remark", "ModemManager": "remark"}
    assert "sudo apt remove brltty" in str(by_name(found)["brltty"].mend)
    assert 'ENV{ID_MM_DEVICE_IGNORE}="1"' in str(by_name(found)["ModemManager"].mend)
    assert "systemctl stop ModemManager" in str(by_name(found)["ModemManager"].mend)
    assert not_ok(port_findings(raspberry_pi)) == {}


def port_of_dialout(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in place of a serial port, which the group dialout may use."""
    port = folder / "ttyUSB0"
    port.touch()
    if os.geteuid() == 0:
        os.chown(port, -1, 20)  # a port whose group is root's gets a udev rule as its mend
    port.chmod(stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IWGRP)
    monkeypatch.setattr("grp.getgrgid", lambda _: SimpleNamespace(gr_name="dialout"))
    device = PortInfo(str(port), "USB Serial", vendor_id=0x1A86, product_id=0x7523)
    monkeypatch.setattr("ecgmoe_edge.firmware_bridge.ports.list_serial_ports", lambda: [device])
    return port


def test_a_port_without_permission_names_its_group_and_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = port_of_dialout(tmp_path, monkeypatch)
    monkeypatch.setattr(os, "access", lambda path, mode: path != str(port))
    found = by_name(port_findings(tmp_path))[f"port {port}"]
    assert found.status == "remark"
    assert found.text == "USB 1a86:7523, group dialout, no permission to read and write"
    assert "`sudo usermod -aG dialout $USER`, then log out and in again" in str(found.mend)


def test_a_port_in_use_names_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = port_of_dialout(tmp_path, monkeypatch)
    assert (
        by_name(port_findings(tmp_path))[f"port {port}"].text == "USB 1a86:7523, group dialout, can be read and written"
    )
    holders: list[str] = []
    monkeypatch.setattr("ecgmoe_edge.firmware_bridge.open_port.holders_of", lambda _: holders)
    for holder, mend in (("agetty, process 7", "serial-getty@ttyUSB0`"), ("minicom, process 8", "Close that program.")):
        holders[:] = [holder]
        found = by_name(port_findings(tmp_path))[f"port {port}"]
        assert (found.status, found.text) == ("remark", f"USB 1a86:7523, group dialout, in use by {holder}")
        assert mend in str(found.mend)


def test_a_port_that_vanishes_during_the_check_is_a_remark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port_of_dialout(tmp_path, monkeypatch).unlink()
    assert list(not_ok(port_findings(tmp_path)).values()) == ["remark"]


def test_folders_that_cannot_be_written_are_remarks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not_ok(folder_findings()) == {}
    removed = tmp_path / "removed"
    removed.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(removed))
    monkeypatch.chdir(removed)
    removed.rmdir()
    findings = folder_findings()
    assert not_ok(findings) == {"current folder": "remark", "temporary folder": "remark"}
    assert "TMPDIR" in str(findings[1].mend)


def test_a_nearly_full_disk_is_a_remark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=99 * 2**20))
    assert not_ok(folder_findings()) == {"current folder": "remark", "temporary folder": "remark"}


def runtimes(folder: Path, monkeypatch: pytest.MonkeyPatch, **modules: str | None) -> dict[str, Finding]:
    """Findings about runtimes whose modules have the given code; None: not installed."""
    table = []
    for runtime in doctor._RUNTIMES:
        code = modules.get(runtime.extra) if runtime.name != "tflite-runtime" else None
        name = f"runtime_{runtime.extra}_{folder.name}"
        if code is not None:
            (folder / f"{name}.py").write_text(code)
        table.append(runtime._replace(module=name if code is not None else f"absent_{name}"))
    monkeypatch.setattr(doctor, "_RUNTIMES", tuple(table))
    monkeypatch.syspath_prepend(str(folder))
    return by_name(runtime_findings())


def test_a_runtime_that_is_not_installed_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "__version__ = '1.2'\ndef get_available_providers(): return ['CUDA', 'CPU']\nprint('hello')"
    found = runtimes(tmp_path, monkeypatch, onnx=code)
    assert list(found) == ["onnxruntime", "LiteRT"]
    assert (found["onnxruntime"].status, found["onnxruntime"].text) == ("ok", "1.2; execution providers: CUDA, CPU")
    assert (found["LiteRT"].status, found["LiteRT"].text) == ("remark", "not installed")
    assert "pip install 'ecgmoe-edge[tflite]'" in str(found["LiteRT"].mend)


def test_no_runtime_at_all_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = runtimes(tmp_path, monkeypatch)
    assert not_ok(list(found.values())) == {"onnxruntime": "problem", "LiteRT": "problem"}


def test_a_runtime_whose_import_fails_or_ends_the_process_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = "import os, signal\nos.kill(os.getpid(), signal.SIGILL)"
    found = runtimes(tmp_path, monkeypatch, onnx="raise ImportError('libgomp.so.1 is missing')", tflite=killed)
    assert found["onnxruntime"].text == "cannot be imported: ImportError: libgomp.so.1 is missing"
    assert found["LiteRT"].text == "its import ends Python with signal 4"
    assert set(not_ok(list(found.values())).values()) == {"problem"}


def test_the_engine_and_the_reason_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECGMOE_ENGINE", "numpy")
    assert (engine_finding().status, engine_finding().text) == ("ok", "numpy; ECGMOE_ENGINE=numpy chose it")
    monkeypatch.setenv("ECGMOE_ENGINE", "fortran")
    assert engine_finding().status == "problem"
    monkeypatch.delenv("ECGMOE_ENGINE")
    monkeypatch.setattr(c_engine, "extension", lambda: None)
    assert engine_finding().status == "remark"
    assert "sudo apt install gcc" in str(engine_finding().mend)


def test_the_self_check_labels_a_beat_of_the_shipped_recording() -> None:
    found = self_check()
    assert found.status == "ok", found.text
    assert "of the shipped recording is N" in found.text
    assert "ms" in found.text


def test_a_missing_or_damaged_bundle_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert self_check(tmp_path / "absent").status == "problem"
    monkeypatch.setattr(doctor, "load_calibration", lambda: (tmp_path / "absent.npz").open())
    found = self_check()
    assert found.status == "problem"
    assert "the shipped files cannot be read" in found.text
    assert found.mend == "Install this package again."


def test_a_model_that_labels_no_beat_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_CHECKED_S", 0.5)  # R peaks are not known so soon
    found = self_check()
    assert found.status == "problem"
    assert "no beat" in found.text


def test_the_shipped_bundle_without_its_runtime_is_a_problem_only_if_nothing_else_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert self_check(runnable=False).status == "problem"
    found = self_check(runnable=True)
    assert found.status == "remark"
    assert "--bundle" in str(found.mend)


def test_only_a_problem_makes_a_diagnosis_fail() -> None:
    fine, remark = Finding("engine", "ok", "c"), Finding("memory", "remark", "little", "End programs.")
    assert Diagnosis((fine, remark)).ok
    failed = Diagnosis((fine, remark, Finding("self check", "problem", "no bundle", "Install it.")))
    assert not failed.ok
    assert failed.to_json() == {
        "findings": [
            {"name": "engine", "status": "ok", "text": "c", "mend": None},
            {"name": "memory", "status": "remark", "text": "little", "mend": "End programs."},
            {"name": "self check", "status": "problem", "text": "no bundle", "mend": "Install it."},
        ],
        "ok": False,
    }
    lines = failed.render_text().splitlines()
    assert [line.split()[0] for line in lines] == ["ok", "remark", "mend:", "problem", "mend:"]


def test_a_diagnosis_covers_every_point_once_and_is_strict_json(laptop: Path) -> None:
    diagnosis = diagnose(root=laptop)
    names = list(by_name(list(diagnosis.findings)))
    wanted = (
        "software, engine, onnxruntime, LiteRT, processor, clock source, cpu governor, throttling, temperature, "
        "power rails, memory, current folder, temporary folder, brltty, ModemManager, gpsd, self check"
    )
    assert [name for name in wanted.split(", ") if name not in names] == []
    assert json.loads(json.dumps(diagnosis.to_json(), allow_nan=False))["ok"] is diagnosis.ok
