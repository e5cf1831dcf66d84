"""Checks the hardware and the system of this machine: processor, clocks, sensors, memory and folders."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from ecgmoe_edge.profiling import sensors
from ecgmoe_edge.profiling.findings import Finding
from ecgmoe_edge.profiling.machine import read_machine

# Instruction sets with which int8 models run fast, by family of processors.
_INSTRUCTIONS = {
    "x86": ("avx2", "avx512_vnni", "avx_vnni"),
    "arm": ("asimd", "asimddp", "i8mm"),
}
_BEST_CLOCK = {"x86": "tsc", "arm": "arch_sys_counter"}
# `powersave` of these drivers raises the frequency under load (kernel documentation, intel_pstate and amd-pstate).
_SCALING_POWERSAVE = ("intel_pstate", "amd-pstate-epp")
_HOT_C = 80.0  # a Raspberry Pi lowers its frequency from here on
_LEAST_MEMORY_MIB = 256.0  # memory of the whole process in the profile generic-cpu
_LEAST_DISK_MIB = 100.0
_UNAVAILABLE = "unavailable"


def host_findings(root: Path = Path("/")) -> list[Finding]:
    """Check processor, clock source, governor, throttling, temperature, power rails and memory.

    Args:
        root: the file tree with /sys and /proc.
    """
    return [
        _processor(root),
        _clock(root),
        _governor(root),
        _throttling(root),
        _temperature(root),
        _power(root),
        _memory(root),
    ]


def folder_findings() -> list[Finding]:
    """Check the free space of the current folder and of the temporary folder, and whether they can be written."""
    return [_current_folder(), _temporary_folder()]


def _processor(root: Path) -> Finding:
    machine = read_machine(root)
    about = f"{machine.cpu or 'of unknown model'}, {machine.usable_cores} usable cores"
    features = sensors.processor_features(root)
    if features is None:
        return Finding("processor", "ok", f"{about}; instruction sets: {_UNAVAILABLE}")
    family, present = features
    found = [name for name in _INSTRUCTIONS[family] if name in present]
    if "neon" in present:  # asimd, in the words of a 32-bit kernel
        found.insert(0, "neon")
    absent = [name for name in _INSTRUCTIONS[family] if name not in present]
    if found:
        without = f", not {', '.join(absent)}" if absent else ""
        return Finding("processor", "ok", f"{about}; has {', '.join(found)}{without}")
    return Finding(
        "processor",
        "remark",
        f"{about}; has none of {', '.join(absent)}, so models run slowly",
        "Measure with `ecgmoe-edge profile --budget` whether it is fast enough; choose a smaller model if it is not.",
    )


def _clock(root: Path) -> Finding:
    clocks, features = sensors.clock_sources(root), sensors.processor_features(root)
    if clocks is None:
        return Finding("clock source", "ok", _UNAVAILABLE)
    current, available = clocks
    best = _BEST_CLOCK[features[0]] if features else current
    if current == best:
        return Finding("clock source", "ok", current)
    file = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
    if best in available:
        mend = f"`echo {best} | sudo tee {file}`"
    else:
        mend = f"The kernel does not offer {best}: `sudo dmesg | grep -i clocksource` gives its reason."
    return Finding("clock source", "remark", f"{current} instead of {best}: time stamps take longer", mend)


def _governor(root: Path) -> Finding:
    governors = sensors.cpu_governors(root)
    if governors is None:
        return Finding("cpu governor", "ok", _UNAVAILABLE)
    cores: dict[str, list[str]] = {}
    for core, (governor, _) in governors.items():
        cores.setdefault(governor, []).append(core)
    text = "; ".join(f"{governor}: {_shortened(names)}" for governor, names in cores.items())
    slow = any(name == "powersave" and driver not in _SCALING_POWERSAVE for name, driver in governors.values())
    if not slow:
        return Finding("cpu governor", "ok", text)
    return Finding(
        "cpu governor",
        "remark",
        f"{text}; powersave keeps the lowest frequency",
        "`echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor`, until the next start",
    )


def _shortened(cores: list[str]) -> str:
    """Names of cores; of more than four, the first and the last.

    >>> _shortened(["cpu0", "cpu1"])
    'cpu0, cpu1'
    >>> _shortened([f"cpu{number}" for number in range(8)])
    '8 cores, cpu0 to cpu7'
    """
    return ", ".join(cores) if len(cores) <= 4 else f"{len(cores)} cores, {cores[0]} to {cores[-1]}"


def _throttling(root: Path) -> Finding:
    causes = sensors.throttling(root)
    if causes is None:
        return Finding("throttling", "ok", _UNAVAILABLE)
    if not causes:
        return Finding("throttling", "ok", "none since the start")
    mends = []
    if any("undervoltage" in cause for cause in causes):
        mends.append("Use the power supply of the board's manufacturer and a short cable.")
    if any("undervoltage" not in cause for cause in causes):
        mends.append("Cool the board. If its supply is too weak, that lowers the frequency too.")
    return Finding("throttling", "remark", ", ".join(causes), " ".join(mends))


def _temperature(root: Path) -> Finding:
    zones = sensors.temperatures_c(root)
    if zones is None:
        return Finding("temperature", "ok", _UNAVAILABLE)
    text = ", ".join(f"{zone} {celsius:.1f} C" for zone, celsius in zones.items())
    if max(zones.values()) < _HOT_C:
        return Finding("temperature", "ok", text)
    return Finding(
        "temperature", "remark", text, f"Cool the board: from about {_HOT_C:g} C on, it lowers its frequency."
    )


def _power(root: Path) -> Finding:
    parts = [
        f"{rail} {_UNAVAILABLE if watt is None else f'{watt:.2f} W'}" for rail, watt in sensors.read_rails(root).items()
    ]
    counters = sensors.energy_uj(root)
    if counters:
        parts.append(f"energy counters: {', '.join(counters)}")
    elif any(root.glob("sys/class/powercap/intel-rapl:[0-9]")):
        parts.append("energy counters that only root can read")
    mode = sensors.power_mode(root)
    if mode:
        parts.append(f"power mode {mode}")
    return Finding("power rails", "ok", ", ".join(parts) or _UNAVAILABLE)


def _memory(root: Path) -> Finding:
    free = sensors.available_memory_mib(root)
    if free is None:
        return Finding("memory", "ok", _UNAVAILABLE)
    if free >= _LEAST_MEMORY_MIB:
        return Finding("memory", "ok", f"{free:.0f} MiB free")
    return Finding(
        "memory",
        "remark",
        f"{free:.0f} MiB free, less than {_LEAST_MEMORY_MIB:.0f}",
        "End other programs, or raise the memory limit of the container.",
    )


def _current_folder() -> Finding:
    try:
        return _folder("current folder", os.getcwd(), "Change to another folder, or free space there.")
    except OSError:
        return Finding("current folder", "remark", "was removed", "Change to a folder that exists.")


def _temporary_folder() -> Finding:
    try:
        folder = tempfile.gettempdir()
    except OSError as error:
        return Finding("temporary folder", "remark", f"there is none: {error.strerror}", "Set TMPDIR to a folder.")
    return _folder("temporary folder", folder, "Set TMPDIR to another folder, or free space there.")


def _folder(name: str, folder: str, mend: str) -> Finding:
    try:
        free = shutil.disk_usage(folder).free / 2**20
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0" * 4096)
    except OSError as error:
        return Finding(name, "remark", f"{folder} cannot be written: {error.strerror}", mend)
    if free < _LEAST_DISK_MIB:
        return Finding(name, "remark", f"{folder}: {free:.0f} MiB free, less than {_LEAST_DISK_MIB:.0f}", mend)
    return Finding(name, "ok", f"{folder}: {free:.0f} MiB free, can be written")
