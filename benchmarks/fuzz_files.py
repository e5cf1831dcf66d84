"""Damages files of every kind that the tool reads, in thousands of ways, and classifies the result of reading each.

    python benchmarks/fuzz_files.py --files 5_000 [--kind NAME] [--seed N] [--minutes M] [--json]

Each kind of file is read in its own process, which is started again if it ended. Counted are: refused in a sentence;
read as before; read with another content, if nothing but the file states its content. Faults are a traceback, a process
that ends, more than 10 s of processor time, and more than 300 MB. Any fault ends the run with 1; the file that caused
it is the n-th of that seed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from ecgmoe_edge.errors import EcgmoeError

MOST_S = 10.0  # of processor time, so that a busy machine is no fault
MOST_MB = 300.0
_HANGS_S = 300  # if reading one file takes that long, processor time or not, it never returns
_BATCH = 100
_LONG = (b"\xff" * 8, b"\0" * 8, b"\xff\xff\xff\x7f" * 2, b"\x80" * 8, (1 << 62).to_bytes(8, "little"))
_WORDS = (
    b"1e999",
    b"-1e308",
    b"9" * 400,
    b"null",
    b"true",
    b'"\\u0000"',
    b'""',
    b"[]",
    b"{}",
    b"-1",
    b"0",
    b"NaN",
    b"\x1b[2J",
)


@dataclass
class Kind:
    """One kind of file: its undamaged content, and how to read it for comparison."""

    name: str
    seeds: dict[str, bytes]  # files by name; one of them is damaged
    read: Callable[[Path], Any]  # receives the folder of the files
    damaged: tuple[str, ...]  # name of the damaged file
    repair: Callable[[Path], None] | None = None  # adapts the other files to the damaged one
    checked: bool = True  # whether something besides the damaged file states its content
    damage: Callable[[bytes, random.Random], bytes] | None = None  # None: `damaged`


@dataclass
class Tally:
    """Results for the files of one kind."""

    kind: str
    files: int = 0
    refused: int = 0
    same: int = 0
    other: int = 0
    slowest_s: float = 0.0
    most_mb: float = 0.0
    faults: list[str] = field(default_factory=list)


def damaged(content: bytes, rng: random.Random) -> bytes:
    """The content with one to twenty changes: bits, bytes, pieces removed, inserted or doubled, or the end cut off."""
    made = content
    while made == content:  # a change may be none, such as a byte that is replaced by its own value
        made = _perhaps_damaged(content, rng)
    return made


def _perhaps_damaged(content: bytes, rng: random.Random) -> bytes:
    made = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 5, 20))):
        at, kind = rng.randrange(len(made) + 1), rng.randrange(9)
        if kind == 0 and at < len(made):
            made[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(made):
            made[at] = rng.randrange(256)
        elif kind == 2:
            del made[at : at + rng.randrange(1, 64)]
        elif kind == 3:
            made[at:at] = rng.randbytes(rng.randrange(1, 32))
        elif kind == 4:
            made[at : at + 8] = rng.choice(_LONG)
        elif kind == 5:
            made[at:at] = made[at : at + rng.randrange(1, 200)]
        elif kind == 6:
            made[at : at + rng.randrange(1, 8)] = rng.choice(_WORDS)
        elif kind == 7 and rng.random() < 0.2:
            del made[at:]
        elif kind == 8 and at < len(made):  # near the start, where sizes are stored
            near = rng.randrange(min(len(made), 64))
            made[near] = rng.randrange(256)
    return bytes(made)


def fuzz(kind: Kind, files: int, seed: int = 0, minutes: float = float("inf")) -> Tally:
    """Damage and read `files` files, or as many as can be read in `minutes`."""
    stop = time.monotonic() + 60.0 * minutes
    tally = Tally(kind.name)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "held"
        _lay(kind, folder)
        want = kind.read(folder)
        at = 0
        while at < files and time.monotonic() < stop:
            at = _batch(kind, want, folder, range(at, min(files, at + _BATCH)), seed, tally)
    return tally


def _lay(kind: Kind, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in kind.seeds.items():
        (folder / name).write_bytes(content)


def _batch(kind: Kind, want: Any, folder: Path, numbers: range, seed: int, tally: Tally) -> int:
    """Read some files in their own process; return the number of the next file."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(readable)
        _child(kind, want, folder, numbers, seed, writable)
    os.close(writable)
    last = numbers.start - 1
    with os.fdopen(readable) as lines:
        for line in lines:
            last, outcome, seconds, grown = json.loads(line)
            tally.files += 1
            tally.slowest_s, tally.most_mb = max(tally.slowest_s, seconds), max(tally.most_mb, grown)
            if outcome in ("refused", "same", "other"):
                setattr(tally, outcome, getattr(tally, outcome) + 1)
                if outcome == "other" and kind.checked:
                    tally.faults.append(f"file {last} of seed {seed} was read as something else")
            else:
                tally.faults.append(f"file {last} of seed {seed}: {outcome}")
            if seconds > MOST_S or grown > MOST_MB:
                tally.faults.append(f"file {last} of seed {seed} took {seconds:.1f} s and {grown:.0f} MB")
    _, status = os.waitpid(child, 0)
    if last + 1 < numbers.stop:
        tally.files += 1
        tally.faults.append(f"file {last + 1} of seed {seed} ended the process: {_why(status)}")
        last += 1
    return last + 1


def _why(status: int) -> str:
    return signal.Signals(status & 0x7F).name if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"


def _child(kind: Kind, want: Any, folder: Path, numbers: range, seed: int, out: int) -> None:
    before = _rss_mb()
    for number in numbers:
        rng = random.Random(f"{kind.name} {seed} {number}")  # noqa: S311 - repeatable, not secret
        _lay(kind, folder)
        name = rng.choice(kind.damaged)
        (folder / name).write_bytes((kind.damage or damaged)(kind.seeds[name], rng))
        started = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, 3 * MOST_S)  # both end the process
        signal.alarm(_HANGS_S)
        try:
            if kind.repair is not None:
                kind.repair(folder)
            outcome = "same" if _equal(kind.read(folder), want) else "other"
        except EcgmoeError:
            outcome = "refused"
        except BaseException as error:  # noqa: BLE001 - every exception is a finding
            outcome = f"{type(error).__name__}: {error}"[:300]
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        row = (number, outcome, time.process_time() - started, _rss_mb() - before)
        os.write(out, (json.dumps(row) + "\n").encode())
    os._exit(0)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, np.ndarray):
        return bool(np.array_equal(one, other))
    return bool(one == other)


def _rss_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def kinds() -> dict[str, Callable[[], Kind]]:
    """What can be fuzzed here, by name; a kind whose packages are not installed raises ImportError."""
    return {
        "bundle folder": _bundle_folder,
        "bundle zip": _bundle_zip,
        "manifest": _manifest,
        "onnx": _onnx,
        "onnx fields": lambda: _fields(_onnx()),
        "tflite": _tflite,
        "tflite fields": lambda: _fields(_tflite()),
        "profile": _profile,
        "student": lambda: _weights("student-nano.safetensors", "student"),
        "qat student": lambda: _weights("student-nano-qat.safetensors", "qat student"),
        "teacher": lambda: _weights("teacher.safetensors", "teacher"),
    }


def _inputs(*, with_context: bool = False) -> dict[str, Any]:
    from ecgmoe_edge.contract import SHAPES, SHAPES_WITH_CONTEXT

    rng = np.random.default_rng(0)
    shapes = SHAPES_WITH_CONTEXT if with_context else SHAPES
    return {name: rng.uniform(-1, 1, (2, *shape)).astype(np.float32) for name, shape in shapes.items()}


def _loaded(path: Path) -> dict[str, Any]:
    from ecgmoe_edge.runtime import load_bundle

    bundle = load_bundle(path)
    return {"decision": bundle.decision, "classes": bundle.classes, **bundle.infer(_inputs())}


def _shipped() -> dict[str, bytes]:
    from ecgmoe_edge.runtime import shipped_bundle

    return {path.name: path.read_bytes() for path in shipped_bundle().iterdir() if path.is_file()}


def _bundle_folder() -> Kind:
    files = _shipped()
    return Kind("bundle folder", files, _loaded, tuple(sorted(set(files) - {"manifest.json"})))


def _bundle_zip() -> Kind:
    from ecgmoe_edge.runtime import pack, shipped_bundle

    with tempfile.TemporaryDirectory() as folder:
        content = pack(shipped_bundle(), Path(folder) / "b.zip").read_bytes()
    return Kind("bundle zip", {"b.zip": content}, lambda held: _loaded(held / "b.zip"), ("b.zip",))


def _manifest() -> Kind:
    return Kind("manifest", _shipped(), _loaded, ("manifest.json",), checked=False)


def _listed_again(folder: Path) -> None:
    """Like an attacker: put size and sha256 of the damaged file into the manifest."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for name, entry in manifest["files"].items():
        content = (folder / name).read_bytes()
        entry.update(bytes=len(content), sha256=sha256(content).hexdigest())
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _onnx() -> Kind:
    return Kind("onnx", _shipped(), _loaded, ("model.onnx",), repair=_listed_again, checked=False)


def _tflite() -> Kind:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "runtime"))
    import msgspec
    from tiny_bundle import tiny_manifest
    from tiny_tflite import if_model

    from ecgmoe_edge.runtime import write_bundle
    from ecgmoe_edge.runtime.litert_engine import LiteRtEngine

    made = LiteRtEngine(if_model())
    given = tiny_manifest()
    model = msgspec.structs.replace(
        given.model, format="tflite", file="model.tflite", precision="int8", activations="int8", providers=()
    )
    manifest = msgspec.structs.replace(given, model=model, inputs=made.inputs, outputs=made.outputs)
    with tempfile.TemporaryDirectory() as name:
        folder = write_bundle(Path(name) / "b", manifest, {"model.tflite": if_model(), "MODEL_CARD.md": b"x"})
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return Kind("tflite", files, _loaded, ("model.tflite",), repair=_listed_again, checked=False)


def _fields(kind: Kind) -> Kind:
    """The same files, with fields changed and not bytes."""
    sys.path.append(str(Path(__file__).resolve().parent.parent))
    from benchmarks import fuzz_fields

    change = fuzz_fields.tflite_fields if kind.name == "tflite" else fuzz_fields.onnx_fields
    return replace(kind, name=f"{kind.name} fields", damage=change)


def _profile() -> Kind:
    from ecgmoe_edge.device_profiles import load_profile

    content = (Path(__file__).parents[1] / "device_profiles" / "jetson.toml").read_bytes()
    return Kind("profile", {"p.toml": content}, lambda held: load_profile(held / "p.toml"), ("p.toml",), checked=False)


def _weights(file: str, name: str) -> Kind:
    from ecgmoe_edge.cli.evaluate_model import student_in_torch, teacher_in_torch

    content = (Path(__file__).parents[1] / "ecgmoe_edge" / "pretrained" / file).read_bytes()
    load = teacher_in_torch if name == "teacher" else student_in_torch

    def read(folder: Path) -> dict[str, Any]:
        model = load(folder / "w")
        return dict(model.infer(_inputs(with_context=name == "teacher")))

    return Kind(name, {"w": content}, read, ("w",))


def main() -> None:
    """Fuzz and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=5_000, help="number of files of each kind")
    parser.add_argument("--kind", action="append", choices=sorted(kinds()), help="only this kind; may be repeated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop each kind after so long")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    tallies = [
        fuzz(make(), options.files, options.seed, options.minutes)
        for name, make in kinds().items()
        if name in (options.kind or kinds())
    ]
    if options.json:
        print(json.dumps([asdict(tally) for tally in tallies], indent=1))
    else:
        print(f"{'kind':15}{'files':>7}{'refused':>9}{'same':>7}{'other':>7}{'slowest s':>11}{'MB':>6}{'faults':>8}")
        for t in tallies:
            counts = f"{t.files:7,}{t.refused:9,}{t.same:7,}{t.other:7,}"
            print(f"{t.kind:15}{counts}{t.slowest_s:11.2f}{t.most_mb:6.0f}{len(t.faults):8}")
    for tally in tallies:
        for fault in tally.faults[:20]:
            print(f"{tally.kind}: {fault}", file=sys.stderr)
    if any(tally.faults for tally in tallies):
        sys.exit(1)


if __name__ == "__main__":
    main()
