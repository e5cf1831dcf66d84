from __future__ import annotations

import json
import os
import resource
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tiny_onnx import expected, random_inputs

from ecgmoe_edge.errors import BundleError, GateFailed, UsageError
from ecgmoe_edge.runtime.bundle import load_bundle, open_bundle, pack, shipped_bundle, write_bundle
from ecgmoe_edge.runtime.compatibility import check_classes
from ecgmoe_edge.runtime.cores import usable_cores
from ecgmoe_edge.runtime.manifest import Gate, Manifest
from ecgmoe_edge.streaming.decision import RULE_VERSION, DecisionRule
from ecgmoe_edge.tasks import BEAT_ANSWERS, BEAT_CLASSES

Files = dict[str, bytes | Path]


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest as somebody with an editor would."""
    path = folder / "manifest.json"
    held = json.loads(path.read_text())
    change(held)
    path.write_text(json.dumps(held))


def test_what_was_written_is_what_runs(bundle_folder: Path) -> None:
    bundle = load_bundle(bundle_folder)
    assert bundle.classes["beat"] == ("N", "S", "V", "F")
    assert bundle.decision == DecisionRule(irregular_penalty=1.5)
    inputs = random_inputs(5)
    outputs, want = bundle.infer(inputs), expected(inputs)
    assert set(outputs) == {"beat", "rhythm", "route_morphology", "route_rhythm"}
    for name, value in outputs.items():
        assert np.abs(value - want[name]).max() < 1e-5
    assert bundle.describe()["engine"]["runtime"] == "onnxruntime"
    assert json.dumps(bundle.describe())


def test_a_zip_is_the_same_bundle_and_the_same_bytes_every_time(bundle_folder: Path, tmp_path: Path) -> None:
    first, second = pack(bundle_folder, tmp_path / "a.zip"), pack(bundle_folder, tmp_path / "b.zip")
    assert first.read_bytes() == second.read_bytes()
    inputs = random_inputs(3)
    for name, value in load_bundle(first).infer(inputs).items():
        assert np.array_equal(value, load_bundle(bundle_folder).infer(inputs)[name])


def test_a_zip_of_the_folder_itself_is_read_too(bundle_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "by-hand.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in bundle_folder.iterdir():
            archive.write(file, f"tiny/{file.name}")
    assert open_bundle(path).manifest.name == "tiny"


def test_the_manifest_lists_every_file_with_its_hash(bundle_folder: Path) -> None:
    files = open_bundle(bundle_folder)
    assert set(files.manifest.files) == {"model.onnx", "MODEL_CARD.md"}
    assert len(files.read("model.onnx")) == files.manifest.files["model.onnx"].bytes
    with pytest.raises(BundleError, match=r"no file model\.c"):
        files.read("model.c")


@pytest.mark.parametrize("name", ["model.onnx", "MODEL_CARD.md"])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_changed_byte_in_any_file_is_found(bundle_folder: Path, tmp_path: Path, name: str, zipped: bool) -> None:
    content = bytearray((bundle_folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle_folder / name).write_bytes(content)
    path = bundle_folder
    if zipped:
        path = tmp_path / "changed.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in bundle_folder.iterdir():
                archive.write(file, file.name)
    with pytest.raises(BundleError, match=rf"{name} is not the file that the manifest describes"):
        load_bundle(path)


def test_every_changed_byte_of_the_manifest_is_found_or_changes_nothing_that_runs(bundle_folder: Path) -> None:
    path = bundle_folder / "manifest.json"
    content = path.read_bytes()
    inputs = random_inputs(2)
    want = load_bundle(bundle_folder).infer(inputs)["beat"]
    refused = 0
    for at in range(0, len(content), 23):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        try:
            assert np.array_equal(load_bundle(bundle_folder).infer(inputs)["beat"], want)
        except BundleError:
            refused += 1
    assert refused > len(content) // 23 // 2


def test_a_zip_with_a_damaged_byte_is_refused(bundle_folder: Path, tmp_path: Path) -> None:
    path = pack(bundle_folder, tmp_path / "b.zip")
    content, whole = path.read_bytes(), open_bundle(path).contents
    refused = 0
    for at in range(60, len(content), 97):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
        try:
            assert open_bundle(path).contents == whole  # a time stamp or a mode may change unseen
        except BundleError:
            refused += 1
    assert refused > len(content) // 97 // 2
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(BundleError, match="neither a folder nor a zip"):
        open_bundle(path)


def test_a_missing_and_an_extra_file_are_named(bundle_folder: Path) -> None:
    (bundle_folder / "notes.txt").write_text("mine")
    with pytest.raises(BundleError, match=r"contains notes\.txt, which its manifest does not list"):
        load_bundle(bundle_folder)
    (bundle_folder / "notes.txt").unlink()
    (bundle_folder / "model.onnx").unlink()
    with pytest.raises(BundleError, match=r"lacks model\.onnx"):
        load_bundle(bundle_folder)


def test_a_link_in_a_bundle_is_refused(bundle_folder: Path, tmp_path: Path) -> None:
    card = bundle_folder / "MODEL_CARD.md"
    card.replace(tmp_path / "elsewhere.md")
    card.symlink_to(tmp_path / "elsewhere.md")
    with pytest.raises(BundleError, match=r"MODEL_CARD\.md is a link"):
        load_bundle(bundle_folder)


MACS = {
    "max_macs": 100, "dense_twin_macs": 90, "mean_macs": 20.5, "p95_macs": 60.0, "data": "made-up beats", "beats": 40,
    "expert_shares": {"morphology": [0.9, 0.1]},
}  # fmt: skip


@pytest.mark.parametrize(
    "macs", [None, MACS, MACS | {"mean_macs": None, "p95_macs": None, "data": "", "why": "no beats were given"}]
)
def test_a_bundle_with_or_without_its_multiplications_is_read(bundle_folder: Path, macs: dict[str, Any] | None) -> None:
    edit(bundle_folder, lambda m: m["model"].pop("macs") if macs is None else m["model"].update(macs=macs))
    read = load_bundle(bundle_folder).manifest.model.macs
    assert (None if read is None else read.mean_macs) == (None if macs is None else macs["mean_macs"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(colour="red"), "unknown field `colour`"),
        (lambda m: m["model"].update(speed=3), "unknown field `speed`"),
        (lambda m: m["gates"][0].update(note="fine"), "unknown field `note`"),
        (lambda m: m["model"].update(macs=MACS | {"watts": 3}), "unknown field `watts`"),
        (lambda m: m["model"].update(macs=MACS | {"p95_macs": None}), "neither of mean_macs and p95_macs"),
        (lambda m: m["model"].update(macs=MACS | {"data": ""}), "does not name the beats"),
        (lambda m: m["model"].update(macs=MACS | {"beats": 0}), "does not name the beats"),
        (lambda m: m["model"].update(macs=MACS | {"mean_macs": None, "p95_macs": None}), "gives no reason"),
        (lambda m: m["model"].update(macs=MACS | {"p95_macs": 101.0}), "above max_macs"),
        (lambda m: m["model"].update(macs=MACS | {"max_macs": -1}), "max_macs"),
        (lambda m: m["model"].update(macs=MACS | {"expert_shares": {"rhythm": [0.5, 0.5, 0]}}), "3 shares"),
        (lambda m: m["model"].update(macs=MACS | {"expert_shares": {"rhythm": [2.0, -1.0]}}), "expert_shares"),
        (
            lambda m: m["decision"].update(luck=1.0),
            f"version {RULE_VERSION} of the decision rule has no constant luck: update ecgmoe-edge",
        ),
        (lambda m: m["decision"].pop("memory_beats"), "missing constants of the decision rule: memory_beats"),
        (
            lambda m: m["decision"].update(rule=99),
            f"needs version 99 of the decision rule, and this ecgmoe-edge knows {RULE_VERSION}: update ecgmoe-edge.",
        ),
        (lambda m: m["decision"].update(rule=0), "version of the decision rule is 0"),
        (lambda m: m["decision"].update(rule="4"), "version of the decision rule is '4'"),
        (
            lambda m: m["decision"].update(rule=2),
            "version 2 of the decision rule has no constant doubtful_margin, doubtful_quality, fibrillation",
        ),
        (lambda m: m["decision"].pop("shape_share"), "missing constants of the decision rule: shape_share"),
        (lambda m: m["decision"].update(memory_beats="many"), "decision rule is invalid"),
        (lambda m: m["decision"].update(memory_beats=0), "memory_beats must be at least 1, and is 0"),
        (lambda m: m["decision"].update(shape_share=-1), "shape_share must be from 0 to 1, and is -1.0"),
        (lambda m: m["classes"].update(beat=["S", "N", "V", "F"]), "has the classes S, N, V, F for the task beat"),
        (lambda m: m["classes"].update(rhythm=["N", "AF", "noisy", "other"]), "for the task rhythm"),
        (lambda m: m["model"].update(threads=100_000_000), "threads"),
        (lambda m: m.update(schema=2), "has manifest schema 2; this version of ecgmoe-edge reads 1"),
        (lambda m: m.pop("schema"), "is not a bundle's manifest"),
        (lambda m: m["preprocessing"].update(model_rate_hz=250.0), "model_rate_hz: 250.0 in the bundle, 128.0 here"),
        (lambda m: m["preprocessing"].update(grid_last=60), "another front end"),
        (lambda m: m["preprocessing"]["feature_scale"].__setitem__(3, 9.0), "feature_scale"),
        (lambda m: m["classes"].pop("beat"), "no task `beat`"),
        (lambda m: m["classes"].update(beat=["N", "V"]), "2 classes and an output of 4"),
        (lambda m: m["model"]["experts"].update(morphology=4), "4 experts and a router of 2"),
        (lambda m: m["gates"][0].update(status="passed", value=5.0), "but its value 5.0 must be at most"),
        (lambda m: m["gates"][1].update(status="passed"), "lacks value"),
        (lambda m: m["files"].update({"../x": m["files"]["model.onnx"]}), "leads out of it"),
        (lambda m: m["model"].update(file="other.onnx"), "does not contain its model file"),
        (lambda m: m["outputs"][0].update(shape=[1, 5]), "classes and an output of 5"),
        (lambda m: m["inputs"][0].update(shape=[1, 2, 100]), "disagree on the input beat"),
    ],
)
def test_a_manifest_that_does_not_hold_is_refused_and_says_why(
    bundle_folder: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit(bundle_folder, change)
    with pytest.raises(BundleError) as caught:
        load_bundle(bundle_folder)
    assert message in str(caught.value)


@pytest.mark.parametrize("answers", [BEAT_CLASSES, BEAT_ANSWERS])
def test_bundles_with_and_without_the_answer_artefact_are_accepted(answers: tuple[str, ...]) -> None:
    check_classes({"beat": answers}, "this")


@pytest.mark.parametrize("answers", [("?", *BEAT_CLASSES), BEAT_CLASSES[:3], (*BEAT_CLASSES, "Q")])
def test_other_answers_for_a_beat_are_refused(answers: tuple[str, ...]) -> None:
    with pytest.raises(BundleError, match=r"for the task beat; this version has N, S, V, F, \?, so"):
        check_classes({"beat": answers}, "this")


def test_a_task_that_nobody_knows_is_refused(bundle_folder: Path) -> None:
    def rename_rhythm(manifest: dict[str, Any]) -> None:
        manifest["classes"]["pulse"] = manifest["classes"].pop("rhythm")
        manifest["outputs"][1]["name"] = "pulse"

    edit(bundle_folder, rename_rhythm)
    with pytest.raises(BundleError, match="has the task pulse, which this version does not know"):
        load_bundle(bundle_folder)


def test_no_more_threads_are_started_than_there_are_processors(bundle_folder: Path) -> None:
    edit(bundle_folder, lambda m: m["model"].update(threads=256))
    assert load_bundle(bundle_folder).describe()["engine"]["threads"] == usable_cores()


@pytest.mark.parametrize("name", [b'"\xff\xfe"', b"[" * 200_000])
def test_a_manifest_with_a_name_that_no_text_can_be_is_refused(bundle_folder: Path, name: bytes) -> None:
    path = bundle_folder / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"tiny"', name))
    with pytest.raises(BundleError, match=r"manifest\.json"):
        open_bundle(bundle_folder)


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b"\xff\xfe", b'{"schema": 1'])
def test_a_manifest_that_is_no_json_object_is_refused(bundle_folder: Path, content: bytes) -> None:
    (bundle_folder / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match="not a bundle's manifest"):
        load_bundle(bundle_folder)


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/outside.txt", "a/../../outside.txt", "..\\outside.txt"])
def test_a_zip_that_leads_out_of_itself_is_refused(bundle_folder: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in bundle_folder.iterdir():
            archive.write(file, file.name)
        archive.writestr(name, "x")
    with pytest.raises(BundleError, match="leads out of it"):
        open_bundle(path)
    assert not (tmp_path.parent / "outside.txt").exists()


def test_a_zip_that_swells_is_refused_before_it_does(bundle_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(bundle_folder / "manifest.json", "manifest.json")
        archive.write(bundle_folder / "model.onnx", "model.onnx")
        archive.writestr("MODEL_CARD.md", bytes(50_000_000))
    with pytest.raises(BundleError, match=r"MODEL_CARD\.md is larger than the manifest says"):
        open_bundle(path)


def test_what_is_no_bundle_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not exist"):
        load_bundle(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError, match=r"has no manifest\.json"):
        load_bundle(tmp_path / "empty")
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(BundleError, match="neither a folder nor a zip"):
        load_bundle(tmp_path / "text.zip")


def test_a_failed_gate_leaves_no_bundle(tmp_path: Path, manifest: Manifest, files: Files) -> None:
    failed = Gate.judge("route agreement", 0.5, 0.97, "at least", data="calibration", unit="share")
    assert failed.status == "failed"
    assert Gate.judge("difference", float("nan"), 1.0, "at most", data="calibration").status == "failed"
    with pytest.raises(GateFailed, match=r"route agreement: 0\.5 share, limit at least 0\.97"):
        write_bundle(tmp_path / "b", msgspec.structs.replace(manifest, gates=(failed,)), files)
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_needs_its_model_and_its_card(tmp_path: Path, manifest: Manifest, files: Files) -> None:
    with pytest.raises(BundleError, match=r"needs the file MODEL_CARD\.md"):
        write_bundle(tmp_path / "b", manifest, {"model.onnx": files["model.onnx"]})
    with pytest.raises(BundleError, match=r"needs the file model\.onnx"):
        write_bundle(tmp_path / "b", manifest, {"MODEL_CARD.md": b""})
    with pytest.raises(BundleError, match="leads out of it"):
        write_bundle(tmp_path / "b", manifest, {**files, "../x": b""})
    with pytest.raises(BundleError, match="could not be written: No such file"):
        write_bundle(tmp_path / "b", manifest, {**files, "extra.txt": tmp_path / "absent"})
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_is_replaced_only_when_asked_and_other_folders_never(
    bundle_folder: Path, tmp_path: Path, manifest: Manifest, files: Files
) -> None:
    other = msgspec.structs.replace(manifest, name="other")
    with pytest.raises(BundleError, match="already contains a bundle"):
        write_bundle(bundle_folder, other, files)
    assert open_bundle(bundle_folder).manifest.name == "tiny"
    write_bundle(bundle_folder, other, files, overwrite=True)
    assert open_bundle(bundle_folder).manifest.name == "other"
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("dear")
    with pytest.raises(BundleError, match="is not a bundle"):
        write_bundle(tmp_path / "home", manifest, files, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "tiny"]
    assert stat.S_IMODE(bundle_folder.stat().st_mode) & 0o500 == 0o500


WRITE_WITH_A_FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from ecgmoe_edge.errors import BundleError
from ecgmoe_edge.runtime.bundle import open_bundle, write_bundle
from ecgmoe_edge.runtime.storage import pack

held = open_bundle(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing beyond the limit gives an OSError, as a full disk does
resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
for write in (lambda: write_bundle(sys.argv[2], held.manifest, held.contents), lambda: pack(sys.argv[1], sys.argv[2])):
    try:
        write()
    except BundleError as error:
        print(error)
"""


def test_a_disk_that_is_full_leaves_nothing_behind(bundle_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    command = [sys.executable, "-c", WRITE_WITH_A_FULL_DISK, str(bundle_folder), str(tmp_path / "full" / "b")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
    assert done.stdout.count("could not be written: File too large") == 2
    assert list((tmp_path / "full").iterdir()) == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 200


def test_c_source_and_foreign_runtimes_are_refused_with_a_way_out(
    bundle_folder: Path, tmp_path: Path, manifest: Manifest, files: Files
) -> None:
    with pytest.raises(UsageError, match="litert does not run onnx bundles; onnxruntime does"):
        load_bundle(bundle_folder, "litert")
    model = msgspec.structs.replace(manifest.model, format="c", file="model.c")
    source = write_bundle(
        tmp_path / "c", msgspec.structs.replace(manifest, model=model), {"model.c": b"int x;", "MODEL_CARD.md": b""}
    )
    assert open_bundle(source).manifest.model.format == "c"
    with pytest.raises(BundleError, match="build it into firmware"):
        load_bundle(source)


def test_an_unknown_shipped_bundle_is_refused() -> None:
    with pytest.raises(BundleError, match="contains no bundle absent"):
        shipped_bundle("absent")


def test_a_tflite_bundle_runs_and_takes_the_reference_kernels_too(tmp_path: Path, manifest: Manifest) -> None:
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")
    from tiny_tflite import if_model

    from ecgmoe_edge.runtime.litert_engine import LiteRtEngine

    specs = LiteRtEngine(if_model())
    model = msgspec.structs.replace(
        manifest.model, format="tflite", file="model.tflite", precision="int8", activations="int8", providers=()
    )
    tflite = msgspec.structs.replace(manifest, model=model, inputs=specs.inputs, outputs=specs.outputs)
    files: Files = {"model.tflite": if_model(), "MODEL_CARD.md": b""}
    path = write_bundle(tmp_path / "t", tflite, files)
    inputs = random_inputs(4)
    fast, slow = load_bundle(path), load_bundle(path, "litert-reference")
    assert slow.describe()["engine"]["kernels"] == "reference"
    for name, value in fast.infer(inputs).items():
        assert np.abs(value - slow.infer(inputs)[name]).max() < 0.21
