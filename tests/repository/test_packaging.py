"""The wheel and the sdist hold the whole package, the four linked folders included, and run from anywhere."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINKED = ("calibration_data", "converters", "device_profiles", "firmware_bridge")
NOT_SOURCE = (
    ".git",
    ".venv*",
    "build",
    "dist",
    "*.egg-info",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
    "cache",
    "runs",
    "*.so",
)


@dataclass(frozen=True)
class Built:
    source: Path
    wheel: Path
    sdist: Path

    @property
    def wheel_names(self) -> set[str]:
        with zipfile.ZipFile(self.wheel) as archive:
            return set(archive.namelist())

    @property
    def sdist_names(self) -> set[str]:
        with tarfile.open(self.sdist) as archive:
            return {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The sdist, and the wheel made from the sdist, of a copy of this tree."""
    place = tmp_path_factory.mktemp("packaging")
    source = place / "source"
    shutil.copytree(ROOT, source, symlinks=True, ignore=shutil.ignore_patterns(*NOT_SOURCE))
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(place / "dist"), str(source)],
        check=True,
        capture_output=True,
        timeout=300,
    )
    return Built(source, next((place / "dist").glob("*.whl")), next((place / "dist").glob("*.tar.gz")))


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of programs of a fresh environment with the wheel; only third-party packages come from this one."""
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, with_pip=False)
    programs = environment / "bin"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(programs / "python"), "install", "--no-deps", built.wheel],
        check=True,
        capture_output=True,
        timeout=300,
    )
    site = Path(sysconfig.get_path("purelib", vars={"base": str(environment), "platbase": str(environment)}))
    (site / "third_party.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return programs


def _package_files(tree: Path) -> set[str]:
    """Every file of the package in a tree, named as in a wheel."""
    found = set()
    for top in (tree / "ecgmoe_edge", *(tree / name for name in LINKED)):
        for path in top.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                inside = path.relative_to(tree).as_posix()
                found.add(inside if inside.startswith("ecgmoe_edge/") else f"ecgmoe_edge/{inside}")
    return found


@pytest.mark.parametrize("name", LINKED)
def test_a_top_folder_is_linked_into_the_package(name: str) -> None:
    link = ROOT / "ecgmoe_edge" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..") / name


def test_the_wheel_holds_every_file_of_the_package(built: Built) -> None:
    missing = _package_files(built.source) - built.wheel_names
    assert not missing, f"not packaged: {sorted(missing)}"


def test_the_wheel_holds_nothing_beside_the_package(built: Built) -> None:
    tops = {name.partition("/")[0] for name in built.wheel_names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"ecgmoe_edge"}


def test_the_wheel_carries_licence_and_notice(built: Built) -> None:
    names = {Path(name).name for name in built.wheel_names if ".dist-info/" in name}
    assert {"LICENSE", "NOTICE", "entry_points.txt"} <= names


def test_the_sdist_holds_real_files_where_the_tree_has_links(built: Built) -> None:
    missing = _package_files(built.source) - built.sdist_names
    assert not missing, f"not in the sdist: {sorted(missing)}"


def test_an_installed_wheel_reads_its_recording_profiles_and_bundle(installed: Path, tmp_path: Path) -> None:
    code = """
import json, sys
import ecgmoe_edge, ecgmoe_edge.converters
from ecgmoe_edge import Monitor, load_bundle
from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.device_profiles import list_profiles
from ecgmoe_edge.runtime import shipped_bundle
recording = load_calibration()
bundle = load_bundle(shipped_bundle())
monitor = Monitor(bundle, recording.fs)
events = monitor.push(recording.signal[:, : int(20 * recording.fs)]) + monitor.flush()
print(json.dumps({
    "where": ecgmoe_edge.__file__, "prefix": sys.prefix, "samples": recording.signal.shape[1],
    "profiles": list_profiles(), "beats": sum(type(event).__name__ == "Beat" for event in events),
}))
"""
    done = subprocess.run(
        [installed / "python", "-I", "-c", code], cwd=tmp_path, check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert Path(result["where"]).is_relative_to(result["prefix"])
    assert result["samples"] == 108_000
    assert {"jetson", "raspberry-pi", "generic-cpu", "cortex-m4"} <= set(result["profiles"])
    assert result["beats"] >= 15


def test_an_installed_wheel_brings_the_command(installed: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [installed / "ecgmoe-edge", "profiles"], cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60
    )
    assert "generic-cpu" in done.stdout


def test_an_editable_install_finds_the_linked_folders(tmp_path: Path) -> None:
    # `make test` installs this tree editable; from another folder, only that install can be what is imported.
    code = "import ecgmoe_edge.converters as c, ecgmoe_edge.firmware_bridge as f; print(c.__file__, f.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60
    )
    assert all(Path(file).resolve().is_relative_to(ROOT) for file in done.stdout.split())


@pytest.mark.slow
@pytest.mark.parametrize("python", ["3.10", "3.12"])
def test_the_device_half_installs_from_wheels_on_aarch64(python: str, built: Built, tmp_path: Path) -> None:
    # A Jetson has Python 3.10 and glibc 2.35; no dependency may need a compiler there.
    report, digits = tmp_path / "report.json", python.replace(".", "")
    built_there = tmp_path / built.wheel.name.replace("linux_x86_64", "linux_aarch64")
    shutil.copy(built.wheel, built_there)  # its dependencies are those of the wheel that is built there
    platforms = [f"manylinux_2_{minor}_aarch64" for minor in (17, 27, 28, 34)] + ["manylinux2014_aarch64"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        + ["--target", str(tmp_path / "nowhere"), "--report", str(report), "--only-binary", ":all:"]
        + [argument for platform in platforms for argument in ("--platform", platform)]
        + ["--platform", "linux_aarch64", "--implementation", "cp", "--abi", "abi3", "--abi", f"cp{digits}"]
        + ["--abi", "none", "--python-version", python, f"{built_there}[onnx]"],
        check=True,
        capture_output=True,
        timeout=300,
    )
    chosen = {entry["metadata"]["name"].lower() for entry in json.loads(report.read_text())["install"]}
    assert {"numpy", "scipy", "onnxruntime", "pyserial", "msgspec", "typer"} <= chosen
    assert not {"torch", "onnx", "wfdb", "pandas", "tensorflow"} & chosen


@pytest.mark.slow
def test_the_command_line_works_with_the_oldest_typer_allowed(installed: Path, tmp_path: Path) -> None:
    requirements = (ROOT / "pyproject.toml").read_text()
    oldest = requirements.partition('"typer>=')[2].partition('"')[0]
    target = tmp_path / "typer"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target), f"typer=={oldest}.*"],
        check=True,
        capture_output=True,
        timeout=300,
    )

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [installed / "ecgmoe-edge", *arguments],
            env={"PYTHONPATH": str(target)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert "Examples:" in run("stream", "--help").stdout
    assert run("stream").returncode == 2
    assert run("profiles", "--json").returncode == 0
    assert run("evaluate", "--only", "nonsense").returncode == 2
