"""What a Linux board tells about itself in /sys and /proc. Nothing is guessed: a sensor that is missing is None.

Every function takes the root of the file tree, `/` on the machine itself, so that a tree recorded on one board can be
read on another. Files and units are the kernel's documented ones (cpufreq, thermal, hwmon, powercap, devfreq); those
of the Raspberry Pi's firmware and of NVIDIA's nvpmodel are named where they are read.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

# Bits of the Raspberry Pi firmware's get_throttled; 16 and up remember since boot.
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
# What a reading beyond these is no measurement of: a sensor that is asleep says -256 C, a clock that is off 0 kHz.
_COLDEST_C, _HOTTEST_C = -60.0, 200.0
_MOST_MHZ = 10_000.0
_MOST_MV, _MOST_MA = 100_000.0, 200_000.0
_NO_RAIL = ("NC", "sum of shunt voltages")  # channels of an INA3221 that measure no rail


def cpu_model(root: Path) -> str | None:
    """Name of the processor, from /proc/cpuinfo, or else of the board, from its device tree."""
    text = _text(root / "proc/cpuinfo") or ""
    for key in ("model name", "Hardware", "Processor"):
        found = re.search(rf"^{key}[ \t]*:[ \t]*(\S.*)$", text, re.MULTILINE)
        if found:
            return found.group(1).strip()
    return _text(root / "proc/device-tree/model") or None


def cpu_count(root: Path) -> int | None:
    """Logical processors listed in /proc/cpuinfo."""
    found = re.findall(r"^processor\s*:", _text(root / "proc/cpuinfo") or "", re.MULTILINE)
    return len(found) or None


def cpu_mhz(root: Path) -> dict[str, float] | None:
    """Present frequency of each processor in MHz."""
    readings = {}
    for path in sorted(root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"), key=_by_number):
        khz = _number(path)
        if khz is not None and 0 < khz / 1e3 <= _MOST_MHZ:
            readings[path.parts[-3]] = khz / 1e3
    return readings or None


def temperatures_c(root: Path) -> dict[str, float] | None:
    """Temperature of each thermal zone in Celsius; a zone that cannot be read is left out.

    So is one whose reading no board can have: nothing that still computes is below -60 C or above 200 C.
    """
    readings = {}
    for zone in sorted(root.glob("sys/class/thermal/thermal_zone*"), key=_by_number):
        kind, milli = _text(zone / "type") or zone.name, _number(zone / "temp")
        if milli is not None and _COLDEST_C <= milli / 1e3 <= _HOTTEST_C:
            readings[kind if kind not in readings else f"{kind} ({zone.name})"] = milli / 1e3
    return readings or None


def throttling(root: Path) -> list[str] | None:
    """What holds a Raspberry Pi back, now or since boot; an empty list is a board at full speed."""
    text = _text(root / "sys/devices/platform/soc/soc:firmware/get_throttled")
    if text is None:
        return None
    try:
        bits = int(text, 16)
    except ValueError:
        return None
    return [name for bit, name in _THROTTLED.items() if bits >> bit & 1]


def rails_w(root: Path) -> dict[str, float] | None:
    """Power of each rail in W that an INA3221 of a Jetson measures; one that cannot be read now is left out."""
    return {rail: watt for rail, watt in read_rails(root).items() if watt is not None} or None


def read_rails(root: Path) -> dict[str, float | None]:
    """Power of each rail in W; None for one that is there and cannot be read now, or says what no rail has."""
    readings: dict[str, float | None] = {}
    for chip in sorted(root.glob("sys/bus/i2c/devices/*/name")):
        if _text(chip) != "ina3221":
            continue
        for label_path in sorted(chip.parent.glob("hwmon/hwmon*/in*_label")):
            label = _text(label_path) or ""
            channel = label_path.name[len("in") : -len("_label")]
            millivolt = _number(label_path.with_name(f"in{channel}_input"))
            milliampere = _number(label_path.with_name(f"curr{channel}_input"))
            if not label or label in _NO_RAIL:
                continue
            readings[label] = None
            if millivolt is None or milliampere is None:
                continue
            if 0 <= millivolt <= _MOST_MV and abs(milliampere) <= _MOST_MA:
                readings[label] = millivolt * milliampere / 1e6
    return readings


def energy_uj(root: Path) -> dict[str, tuple[float, float | None]] | None:
    """Energy counter of each processor package in uJ, and where it wraps round (RAPL, x86; often root's alone)."""
    readings = {}
    for package in sorted(root.glob("sys/class/powercap/intel-rapl:[0-9]")):
        energy = _number(package / "energy_uj")
        if energy is not None:
            readings[_text(package / "name") or package.name] = (energy, _number(package / "max_energy_range_uj"))
    return readings or None


def gpu_mhz(root: Path) -> dict[str, dict[str, float]] | None:
    """Present and highest frequency in MHz of each devfreq device (on a Jetson: the GPU)."""
    readings = {}
    for device in sorted(root.glob("sys/class/devfreq/*")):
        now, most = _number(device / "cur_freq"), _number(device / "max_freq")
        if now is not None and most is not None and 0 <= now / 1e6 <= _MOST_MHZ and 0 < most / 1e6 <= _MOST_MHZ:
            readings[device.name] = {"now": now / 1e6, "max": most / 1e6}
    return readings or None


def power_mode(root: Path) -> str | None:
    """Name of the present nvpmodel power mode of a Jetson."""
    found = re.search(r"pmode:0*(\d+)", _text(root / "var/lib/nvpmodel/status") or "")
    if not found:
        return None
    number = found.group(1)
    for line in (_text(root / "etc/nvpmodel.conf") or "").splitlines():
        if re.search(rf"<\s*POWER_MODEL\b.*\bID={number}\b", line):
            name = re.search(r"\bNAME=(\S+)", line)
            if name:
                return name.group(1).rstrip(">")
    return f"mode {number}"


def peak_memory_mib(root: Path) -> float | None:
    """Most memory that this process has held, in MiB (VmHWM)."""
    found = re.search(r"^VmHWM:\s*(\d+) kB", _text(root / "proc/self/status") or "", re.MULTILINE)
    return int(found.group(1)) / 1024 if found else None


class PowerMeter:
    """Mean power of each rail over a run: of readings where a rail is measured, of energy where that is counted."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._readings: dict[str, list[float]] = {}  # of each rail: count of those that came, and their sum in W
        self._samples = 0
        self._energy = energy_uj(root) or {}

    def sample(self) -> None:
        """Take one reading of the rails."""
        for rail, watt in read_rails(self._root).items():
            came = self._readings.setdefault(rail, [0, 0.0])
            if watt is not None:
                came[0] += 1
                came[1] += watt
        self._samples += 1

    def mean_w(self, seconds: float) -> dict[str, float] | None:
        """Mean power in W of each rail over the `seconds` since the meter was made; None without a sensor.

        Of the readings that came: one that failed says nothing of the power.
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
        """Share of the readings of each rail that failed, 0..1; only of rails where one did."""
        shares = {rail: 1.0 - count / self._samples for rail, (count, _) in self._readings.items() if self._samples}
        return {rail: share for rail, share in shares.items() if share > 0}


def _by_number(path: Path) -> tuple[int, ...]:
    """Sorts cpu2 before cpu10."""
    return tuple(int(digits) for digits in re.findall(r"\d+", str(path)))


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip("\x00\n ")
    except OSError:  # absent, or a sensor that is asleep
        return None


def _number(path: Path) -> float | None:
    text = _text(path)
    try:
        number = math.nan if text is None else float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
