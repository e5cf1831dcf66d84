"""Reads the sensors of a Linux board from /sys and /proc. Nothing is guessed: a missing sensor gives None.

Every function takes the root of the file tree, `/` on the machine itself, so that a tree recorded on one board can be
read on another. Files and units are documented by the kernel (cpufreq, thermal, hwmon, powercap, devfreq); those of
the Raspberry Pi's firmware and of NVIDIA's nvpmodel are named in their functions.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Literal

# Bits of the Raspberry Pi firmware's get_throttled; bits 16 and up mean "since boot".
_THROTTLED = {
    0: "undervoltage",
    1: "frequency capped",
    2: "throttled",
    3: "soft temperature limit",
    16: "undervoltage has occurred",
    17: "frequency capping has occurred",
    18: "throttling has occurred",
    19: "soft temperature limit has occurred",
}
# Readings outside these limits are no measurements: a sleeping sensor reports -256 C, a stopped clock 0 kHz.
_COLDEST_C, _HOTTEST_C = -60.0, 200.0
_MOST_MHZ = 10_000.0
_MOST_MV, _MOST_MA = 100_000.0, 200_000.0
# Limit and use of memory of a control group, bytes, and the cache that the kernel gives back: versions 2 and 1.
_MEMORY_LIMITS = (
    ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.current", "inactive_file"),
    (
        "sys/fs/cgroup/memory/memory.limit_in_bytes",
        "sys/fs/cgroup/memory/memory.usage_in_bytes",
        "total_inactive_file",
    ),
)
_NO_RAIL = ("NC", "sum of shunt voltages")  # channels of an INA3221 without a supply rail


def cpu_model(root: Path) -> str | None:
    """Name of the processor from /proc/cpuinfo, or of the board from its device tree."""
    text = read_text(root / "proc/cpuinfo") or ""
    for key in ("model name", "Hardware", "Processor"):
        found = re.search(rf"^{key}[ \t]*:[ \t]*(\S.*)$", text, re.MULTILINE)
        if found:
            return found.group(1).strip()
    return read_text(root / "proc/device-tree/model") or None


def cpu_count(root: Path) -> int | None:
    """Number of logical processors listed in /proc/cpuinfo."""
    found = re.findall(r"^processor\s*:", read_text(root / "proc/cpuinfo") or "", re.MULTILINE)
    return len(found) or None


def processor_features(root: Path) -> tuple[Literal["x86", "arm"], frozenset[str]] | None:
    """Family of the processor, and the features that all cores have, as /proc/cpuinfo names them."""
    text = read_text(root / "proc/cpuinfo") or ""
    families: tuple[tuple[Literal["x86", "arm"], str], ...] = (("x86", "flags"), ("arm", "Features"))
    for family, key in families:
        cores = re.findall(rf"^{key}[ \t]*:(.*)$", text, re.MULTILINE)
        if cores:
            return family, frozenset.intersection(*(frozenset(line.split()) for line in cores))
    return None


def clock_sources(root: Path) -> tuple[str, tuple[str, ...]] | None:
    """The clock that the kernel uses for time stamps, and all clocks between which it can choose."""
    folder = root / "sys/devices/system/clocksource/clocksource0"
    current = read_text(folder / "current_clocksource")
    if not current:
        return None
    return current, tuple((read_text(folder / "available_clocksource") or "").split())


def cpu_governors(root: Path) -> dict[str, tuple[str, str | None]] | None:
    """For each processor, the governor that chooses its frequency, and the driver of the governor."""
    readings = {}
    for path in sorted(root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"), key=_by_number):
        governor = read_text(path)
        if governor:
            readings[path.parts[-3]] = governor, read_text(path.with_name("scaling_driver"))
    return readings or None


def available_memory_mib(root: Path) -> float | None:
    """Memory that can still be used, MiB: MemAvailable, or less if the control group of a container has a limit."""
    found = re.search(r"^MemAvailable:\s*(\d+) kB", read_text(root / "proc/meminfo") or "", re.MULTILINE)
    rooms = [int(found.group(1)) / 1024] if found else []
    for limit, used, reclaimable in _MEMORY_LIMITS:
        most, now = read_number(root / limit), read_number(root / used)
        if most is None or now is None:  # no limit ("max"), or another version of control groups
            continue
        cache = re.search(
            rf"^{reclaimable} (\d+)$", read_text((root / limit).with_name("memory.stat")) or "", re.MULTILINE
        )
        rooms.append(max(0.0, most - now + (int(cache.group(1)) if cache else 0)) / 2**20)
    return min(rooms, default=None)


def cpu_mhz(root: Path) -> dict[str, float] | None:
    """Current frequency of each processor, MHz."""
    readings = {}
    for path in sorted(root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"), key=_by_number):
        khz = read_number(path)
        if khz is not None and 0 < khz / 1e3 <= _MOST_MHZ:
            readings[path.parts[-3]] = khz / 1e3
    return readings or None


def temperatures_c(root: Path) -> dict[str, float] | None:
    """Temperature of each thermal zone, Celsius.

    A zone that cannot be read, or whose reading is below -60 C or above 200 C, is omitted.
    """
    readings = {}
    for zone in sorted(root.glob("sys/class/thermal/thermal_zone*"), key=_by_number):
        kind, milli = read_text(zone / "type") or zone.name, read_number(zone / "temp")
        if milli is not None and _COLDEST_C <= milli / 1e3 <= _HOTTEST_C:
            readings[kind if kind not in readings else f"{kind} ({zone.name})"] = milli / 1e3
    return readings or None


def throttling(root: Path) -> list[str] | None:
    """Throttling of a Raspberry Pi, now or since boot. An empty list is a board at full speed."""
    text = read_text(root / "sys/devices/platform/soc/soc:firmware/get_throttled")
    if text is None:
        return None
    try:
        bits = int(text, 16)
    except ValueError:
        return None
    return [name for bit, name in _THROTTLED.items() if bits >> bit & 1]


def rails_w(root: Path) -> dict[str, float] | None:
    """Power of each rail, W, measured by a Jetson's INA3221. A rail that cannot be read now is omitted."""
    return {rail: watt for rail, watt in read_rails(root).items() if watt is not None} or None


def read_rails(root: Path) -> dict[str, float | None]:
    """Power of each rail, W; None for a rail that cannot be read now or whose reading is out of range."""
    readings: dict[str, float | None] = {}
    for chip in sorted(root.glob("sys/bus/i2c/devices/*/name")):
        if read_text(chip) != "ina3221":
            continue
        for label_path in sorted(chip.parent.glob("hwmon/hwmon*/in*_label")):
            label = read_text(label_path) or ""
            channel = label_path.name[len("in") : -len("_label")]
            millivolt = read_number(label_path.with_name(f"in{channel}_input"))
            milliampere = read_number(label_path.with_name(f"curr{channel}_input"))
            if not label or label in _NO_RAIL:
                continue
            readings[label] = None
            if millivolt is None or milliampere is None:
                continue
            if 0 <= millivolt <= _MOST_MV and abs(milliampere) <= _MOST_MA:
                readings[label] = millivolt * milliampere / 1e6
    return readings


def energy_uj(root: Path) -> dict[str, tuple[float, float | None]] | None:
    """Energy counter of each processor package, uJ, and the value at which it wraps.

    Source: RAPL of x86 processors; often readable by root only.
    """
    readings = {}
    for package in sorted(root.glob("sys/class/powercap/intel-rapl:[0-9]")):
        energy = read_number(package / "energy_uj")
        if energy is not None:
            readings[read_text(package / "name") or package.name] = (
                energy,
                read_number(package / "max_energy_range_uj"),
            )
    return readings or None


def gpu_mhz(root: Path) -> dict[str, dict[str, float]] | None:
    """Current and highest frequency, MHz, of each devfreq device (on a Jetson: the GPU)."""
    readings = {}
    for device in sorted(root.glob("sys/class/devfreq/*")):
        now, most = read_number(device / "cur_freq"), read_number(device / "max_freq")
        if now is not None and most is not None and 0 <= now / 1e6 <= _MOST_MHZ and 0 < most / 1e6 <= _MOST_MHZ:
            readings[device.name] = {"now": now / 1e6, "max": most / 1e6}
    return readings or None


def power_mode(root: Path) -> str | None:
    """Name of a Jetson's current nvpmodel power mode."""
    found = re.search(r"pmode:0*(\d+)", read_text(root / "var/lib/nvpmodel/status") or "")
    if not found:
        return None
    number = found.group(1)
    for line in (read_text(root / "etc/nvpmodel.conf") or "").splitlines():
        if re.search(rf"<\s*POWER_MODEL\b.*\bID={number}\b", line):
            name = re.search(r"\bNAME=(\S+)", line)
            if name:
                return name.group(1).rstrip(">")
    return f"mode {number}"


def peak_memory_mib(root: Path) -> float | None:
    """Peak memory of this process, MiB (VmHWM)."""
    found = re.search(r"^VmHWM:\s*(\d+) kB", read_text(root / "proc/self/status") or "", re.MULTILINE)
    return int(found.group(1)) / 1024 if found else None


class PowerMeter:
    """Measures the mean power of each rail during a run, from power readings or from energy counters."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._readings: dict[str, list[float]] = {}  # per rail: number of successful readings, and their sum, W
        self._samples = 0
        self._energy = energy_uj(root) or {}

    def sample(self) -> None:
        """Read all rails once."""
        for rail, watt in read_rails(self._root).items():
            totals = self._readings.setdefault(rail, [0, 0.0])
            if watt is not None:
                totals[0] += 1
                totals[1] += watt
        self._samples += 1

    def mean_w(self, seconds: float) -> dict[str, float] | None:
        """Mean power of each rail, W, over the `seconds` since the meter was created; None without a sensor.

        Failed readings are ignored.
        """
        means = {rail: total / count for rail, (count, total) in self._readings.items() if count}
        for package, (now, wraps_at) in (energy_uj(self._root) or {}).items():
            if package in self._energy and seconds > 0:
                used = now - self._energy[package][0]
                used += (wraps_at or 0.0) if used < 0 else 0.0
                if used >= 0:
                    means[package] = used / 1e6 / seconds
        return means or None

    def missing(self) -> dict[str, float]:
        """For each rail with failed readings, the fraction that failed, 0..1."""
        shares = {rail: 1.0 - count / self._samples for rail, (count, _) in self._readings.items() if self._samples}
        return {rail: share for rail, share in shares.items() if share > 0}


def _by_number(path: Path) -> tuple[int, ...]:
    """Sort key that places cpu2 before cpu10."""
    return tuple(int(digits) for digits in re.findall(r"\d+", str(path)))


def read_text(path: Path) -> str | None:
    """Text of a file of /sys or /proc without the ends of its lines; None if it cannot be read."""
    try:
        return path.read_text(errors="replace").strip("\x00\n ")
    except OSError:  # the file is absent, or the sensor is asleep
        return None


def read_number(path: Path) -> float | None:
    """Finite number in a file of /sys or /proc; None if it has none or cannot be read."""
    text = read_text(path)
    try:
        number = math.nan if text is None else float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
