from __future__ import annotations

from pathlib import Path

import pytest
from recorded_tree import write_tree

from ecgmoe_edge.profiling import sensors
from ecgmoe_edge.profiling.machine import read_machine


@pytest.fixture
def jetson(tmp_path: Path) -> Path:
    """A simulated Jetson: the files of its kernel, with invented readings."""
    hwmon = "sys/bus/i2c/devices/1-0040/hwmon/hwmon3"
    return write_tree(
        tmp_path,
        {
            "proc/cpuinfo": "processor\t: 0\nmodel name\t: ARMv8 Processor rev 1 (v8l)\n\nprocessor\t: 1",
            "proc/self/status": "Name:\tpython\nVmPeak:\t  90000 kB\nVmHWM:\t   51200 kB",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1510400",
            "sys/devices/system/cpu/cpu10/cpufreq/scaling_cur_freq": "729600",
            "sys/devices/system/cpu/cpu2/cpufreq/scaling_cur_freq": "1510400",
            "sys/bus/i2c/devices/1-0040/name": "ina3221",
            "sys/bus/i2c/devices/1-0050/name": "24c02",
            f"{hwmon}/in1_label": "VDD_IN",
            f"{hwmon}/in1_input": "5000",
            f"{hwmon}/curr1_input": "900",
            f"{hwmon}/in2_label": "VDD_CPU_GPU_CV",
            f"{hwmon}/in2_input": "5000",
            f"{hwmon}/curr2_input": "200",
            f"{hwmon}/in3_label": "NC",
            f"{hwmon}/in3_input": "5000",
            f"{hwmon}/curr3_input": "0",
            f"{hwmon}/in7_label": "sum of shunt voltages",
            f"{hwmon}/in7_input": "4",
            "sys/class/devfreq/17000000.gpu/cur_freq": "306000000",
            "sys/class/devfreq/17000000.gpu/max_freq": "624750000",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
            "sys/class/thermal/thermal_zone0/temp": "47500",
            "sys/class/thermal/thermal_zone1/type": "gpu-thermal",
            "sys/class/thermal/thermal_zone1/temp": "garbage",
            "var/lib/nvpmodel/status": "pmode:0001",
            "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL ID=1 NAME=7W >",
        },
    )


@pytest.fixture
def raspberry_pi(tmp_path: Path) -> Path:
    """A simulated Raspberry Pi that is throttled and had undervoltage before."""
    return write_tree(
        tmp_path,
        {
            "sys/devices/platform/soc/soc:firmware/get_throttled": "50005",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
            "sys/class/thermal/thermal_zone0/temp": "61830",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "600000",
        },
    )


def test_a_jetson_reports_rails_gpu_temperature_and_power_mode(jetson: Path) -> None:
    assert sensors.rails_w(jetson) == {"VDD_IN": 4.5, "VDD_CPU_GPU_CV": 1.0}
    machine = read_machine(jetson)
    assert machine.cpu == "ARMv8 Processor rev 1 (v8l)"
    assert machine.cores == 2
    assert machine.cpu_mhz == {"cpu0": 1510.4, "cpu2": 1510.4, "cpu10": 729.6}
    assert list(machine.cpu_mhz) == ["cpu0", "cpu2", "cpu10"]
    assert machine.gpu_mhz == {"17000000.gpu": {"now": 306.0, "max": 624.75}}
    assert machine.temperature_c == {"cpu-thermal": 47.5}, "a zone with invalid content is left out"
    assert machine.power_mode == "7W"
    assert machine.throttling is None
    assert sensors.peak_memory_mib(jetson) == 50.0


def test_a_raspberry_pi_reports_its_throttling(raspberry_pi: Path) -> None:
    machine = read_machine(raspberry_pi)
    assert machine.throttling == [
        "undervoltage",
        "throttled",
        "undervoltage has occurred",
        "throttling has occurred",
    ]
    assert machine.temperature_c == {"cpu-thermal": 61.83}
    assert machine.power_mode is None
    assert sensors.rails_w(raspberry_pi) is None


@pytest.mark.parametrize(("bits", "expected"), [("0", []), ("0x0", []), ("8", ["soft temperature limit"]), ("?", None)])
def test_the_throttling_bits_are_hexadecimal(tmp_path: Path, bits: str, expected: list[str] | None) -> None:
    write_tree(tmp_path, {"sys/devices/platform/soc/soc:firmware/get_throttled": bits})
    assert sensors.throttling(tmp_path) == expected


def test_rails_are_averaged_over_the_readings(jetson: Path) -> None:
    meter = sensors.PowerMeter(jetson)
    meter.sample()
    write_tree(jetson, {"sys/bus/i2c/devices/1-0040/hwmon/hwmon3/curr1_input": "1100"})
    meter.sample()
    means = meter.mean_w(2.0)
    assert means is not None
    assert means["VDD_IN"] == pytest.approx(5.0)


def test_a_rail_with_failed_readings_keeps_its_mean_and_reports_the_failures(jetson: Path) -> None:
    hwmon = "sys/bus/i2c/devices/1-0040/hwmon/hwmon3"
    meter = sensors.PowerMeter(jetson)
    for current in ("1000", "", "1000", "garbage", "nan", "inf", "99999999999", "1000"):
        write_tree(jetson, {f"{hwmon}/curr1_input": current})
        meter.sample()
    means = meter.mean_w(2.0)
    assert means is not None
    assert means["VDD_IN"] == pytest.approx(5.0)
    assert means["VDD_CPU_GPU_CV"] == pytest.approx(1.0)
    assert meter.missing() == {"VDD_IN": pytest.approx(5 / 8)}


def test_a_rail_that_can_never_be_read_has_no_power(jetson: Path) -> None:
    write_tree(jetson, {"sys/bus/i2c/devices/1-0040/hwmon/hwmon3/curr1_input": ""})
    meter = sensors.PowerMeter(jetson)
    meter.sample()
    assert meter.mean_w(1.0) == {"VDD_CPU_GPU_CV": 1.0}
    assert meter.missing() == {"VDD_IN": 1.0}


@pytest.mark.parametrize("milli", ["-256000", "-650788984", "1000000", "nan", "inf", "", "-60001", "200001"])
def test_an_impossible_temperature_is_omitted(tmp_path: Path, milli: str) -> None:
    zone = "sys/class/thermal/thermal_zone"
    write_tree(
        tmp_path, {f"{zone}0/type": "gpu", f"{zone}0/temp": milli, f"{zone}1/type": "cpu", f"{zone}1/temp": "48500"}
    )
    assert sensors.temperatures_c(tmp_path) == {"cpu": 48.5}


def test_a_processor_without_a_model_name_is_identified_by_its_board(tmp_path: Path) -> None:
    write_tree(tmp_path, {"proc/cpuinfo": "processor\t: 0\nmodel name\t:\nBogoMIPS\t: 62.50"})
    assert sensors.cpu_model(tmp_path) is None, "not the line below"
    write_tree(tmp_path, {"proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0"})
    assert sensors.cpu_model(tmp_path) == "NVIDIA Jetson Orin Nano Developer Kit"


@pytest.mark.parametrize("khz", ["0", "-5", "<unknown>", "nan", "99999999999"])
def test_an_impossible_frequency_is_omitted(tmp_path: Path, khz: str) -> None:
    write_tree(tmp_path, {"sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": khz})
    assert sensors.cpu_mhz(tmp_path) is None


def test_energy_counters_give_power_even_if_they_wrap(tmp_path: Path) -> None:
    package = "sys/class/powercap/intel-rapl:0"
    write_tree(
        tmp_path,
        {
            f"{package}/name": "package-0",
            f"{package}/energy_uj": "9000000",
            f"{package}/max_energy_range_uj": "10000000",
            "sys/class/powercap/intel-rapl:0:0/name": "core",
            "sys/class/powercap/intel-rapl:0:0/energy_uj": "1",
        },
    )
    meter = sensors.PowerMeter(tmp_path)
    write_tree(tmp_path, {f"{package}/energy_uj": "5000000"})
    assert meter.mean_w(2.0) == {"package-0": 3.0}, "6 J went by: 1 to the top and 5 from zero"


def test_a_machine_without_sensors_gives_none_for_each(tmp_path: Path) -> None:
    machine = read_machine(tmp_path)
    for fact in ("cpu", "cores", "cpu_mhz", "gpu_mhz", "temperature_c", "throttling", "power_mode"):
        assert getattr(machine, fact) is None
    assert sensors.peak_memory_mib(tmp_path) is None
    assert sensors.PowerMeter(tmp_path).mean_w(1.0) is None


def test_an_unnamed_power_mode_is_reported_by_number(tmp_path: Path) -> None:
    write_tree(tmp_path, {"var/lib/nvpmodel/status": "pmode:0003", "etc/nvpmodel.conf": "# nothing"})
    assert sensors.power_mode(tmp_path) == "mode 3"
