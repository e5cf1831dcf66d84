"""Bundles that somebody made to do harm, or that a disk has damaged, end in a sentence before they take memory."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from tiny_onnx import onnx_model

from ecgmoe_edge.errors import BundleError, EcgmoeError
from ecgmoe_edge.runtime.bundle import load_bundle, open_bundle, pack, write_bundle
from ecgmoe_edge.runtime.manifest import Manifest
from ecgmoe_edge.runtime.onnx_file import check_onnx_file

ROOT = Path(__file__).parents[2]


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "manifest.json"
    held = json.loads(path.read_text())
    change(held)
    path.write_text(json.dumps(held))


def put_model(folder: Path, content: bytes) -> None:
    """Another model, with a manifest that says so."""
    (folder / "model.onnx").write_bytes(content)
    listed = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    edit(folder, lambda m: m["files"].update({"model.onnx": listed}))


def external(model: bytes, where: str = "./ext.bin") -> onnx.ModelProto:
    loaded = onnx.load_model_from_string(model)
    tensor = loaded.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.MergeFrom(onnx.TensorProto(data_location=onnx.TensorProto.EXTERNAL))
    tensor.external_data.add(key="location", value=where)
    return loaded


def test_a_model_with_numbers_in_another_file_is_refused(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ext.bin").write_bytes(bytes(1 << 16))  # where a runtime would take them from
    put_model(bundle_folder, bytes(external(onnx_model()).SerializeToString()))
    with pytest.raises(BundleError, match="another file"):
        load_bundle(bundle_folder)


def test_external_numbers_are_found_in_branches_attributes_and_functions() -> None:
    tensor = onnx.TensorProto(name="x", data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    constant = helper.make_node("Constant", [], ["x"], value=tensor)
    inner = helper.make_graph([constant], "inner", [], [])
    choice = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    for nodes in ([constant], [choice]):
        model = helper.make_model(helper.make_graph(nodes, "g", [], []))
        with pytest.raises(BundleError, match="another file"):
            check_onnx_file(model.SerializeToString())
    function = helper.make_function("here", "f", [], ["x"], [constant], [helper.make_opsetid("", 18)])
    model = helper.make_model(helper.make_graph([], "g", [], []), functions=[function])
    with pytest.raises(BundleError, match="another file"):
        check_onnx_file(model.SerializeToString())


@pytest.mark.parametrize("kind", ["Loop", "Scan", "ConstantOfShape", "RandomNormal", "Expand"])
def test_an_operator_that_may_never_end_is_refused(kind: str) -> None:
    model = helper.make_model(helper.make_graph([helper.make_node(kind, ["a"], ["b"])], "g", [], []))
    with pytest.raises(BundleError, match=f"operator {kind}"):
        check_onnx_file(model.SerializeToString())


def test_a_tensor_of_absurd_size_is_refused() -> None:
    tensor = onnx.TensorProto(name="x", data_type=1, dims=[1 << 40, 1 << 40])
    model = helper.make_model(helper.make_graph([], "g", [], [], [tensor]))
    with pytest.raises(BundleError, match="a tensor has"):
        check_onnx_file(model.SerializeToString())


def test_a_name_that_is_no_text_is_refused_in_a_sentence_and_with_nothing_on_stdout(
    bundle_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_model(bundle_folder, onnx_model().replace(b"route_morphology", b"route\xff\xfephology"))
    with pytest.raises(BundleError, match="cannot load the model"):
        load_bundle(bundle_folder)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_weights_that_are_no_numbers_are_refused_when_the_model_first_runs(bundle_folder: Path, bad: float) -> None:
    model = onnx.load_model_from_string(onnx_model())
    skip = next(tensor for tensor in model.graph.initializer if tensor.name == "skip")
    skip.CopyFrom(numpy_helper.from_array(np.full((27, 4), bad, np.float32), "skip"))
    put_model(bundle_folder, model.SerializeToString())
    with pytest.raises(BundleError, match="its labels are meaningless"):
        load_bundle(bundle_folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(name=""), "name"),
        (lambda m: m.update(name="a\x00b"), "name"),
        (lambda m: m.update(name="x" * 300), "name"),
        (lambda m: m["inputs"][0].update(shape=[]), "a shape has 1 to 8 dimensions"),
        (lambda m: m["inputs"][0].update(shape=[10**6, 10**6]), "a shape has 1 to 8 dimensions"),
        (lambda m: m["outputs"][0].update(shape=[1, 10**30]), "shape"),
        (lambda m: m["inputs"][0].update(dtype="int8", scale=1e-300, zero_point=0), "scale must be a number from"),
        (lambda m: m["inputs"][0].update(dtype="int8", scale=0.1, zero_point=4000), "zero_point 4000 is outside int8"),
        (lambda m: m["model"].update(experts={"morphology": 10**12}), "experts"),
        (lambda m: m["model"].update(parameters=10**400), "parameters|integer"),
        (lambda m: m["preprocessing"].update(model_rate_hz=0.0), "model_rate_hz"),
        (lambda m: m["decision"].update(usual_margin=-1e300), "usual_margin of the decision rule"),
        (lambda m: m["decision"].update(irregular_penalty=1e6), "irregular_penalty of the decision rule"),
        (lambda m: m["decision"].update(memory_beats=10**9), "memory_beats of the decision rule"),
        (lambda m: m["files"]["model.onnx"].update(bytes=10**10), "a bundle has at most"),
        (lambda m: m["files"].update({"a\nb": m["files"]["model.onnx"]}), "names a file"),
        (lambda m: m["files"].update({"": m["files"]["model.onnx"]}), "names a file"),
    ],
)
def test_absurd_numbers_and_names_of_a_manifest_are_refused(
    bundle_folder: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit(bundle_folder, change)
    with pytest.raises(BundleError, match=message):
        load_bundle(bundle_folder)


def test_a_bundle_with_a_failed_gate_is_refused(bundle_folder: Path) -> None:
    failed = {"name": "size", "status": "failed", "data": "x", "value": 2.0, "limit": 1.0, "sense": "at most"}
    edit(bundle_folder, lambda m: m["gates"].append(failed))
    for read in (open_bundle, load_bundle):
        with pytest.raises(BundleError, match=r"failed gates \(size\)"):
            read(bundle_folder)


def swollen(path: Path, folder: Path, *, declared: bool) -> Path:
    """A small zip whose model would have 200 MB; `declared`: whether its central directory states this size."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / "MODEL_CARD.md", "MODEL_CARD.md")
        with archive.open("model.onnx", "w", force_zip64=True) as member:
            for _ in range(20):
                member.write(bytes(10 << 20))
        size = archive.getinfo("model.onnx").file_size
        edit(folder, lambda m: m["files"]["model.onnx"].update(bytes=size if declared else 1000))
        archive.write(folder / "manifest.json", "manifest.json")
    if not declared:
        content = path.read_bytes()
        at = content.rindex(b"PK\x01\x02", 0, content.rindex(b"model.onnx"))
        path.write_bytes(content[: at + 24] + struct.pack("<I", 1000) + content[at + 28 :])
    return path


@pytest.mark.parametrize("declared", [True, False])
def test_a_zip_that_swells_is_refused_by_its_list_and_by_what_comes_out(
    bundle_folder: Path, tmp_path: Path, declared: bool
) -> None:
    path = swollen(tmp_path / "b.zip", bundle_folder, declared=declared)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BundleError):
        open_bundle(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # KiB


def zip_of(path: Path, *members: tuple[zipfile.ZipInfo | str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for info, content in members:
            archive.writestr(info, content)
    return path


def test_links_foreign_compression_nul_names_and_crowds_in_a_zip_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("model.onnx")
    link.external_attr = 0o120777 << 16
    with pytest.raises(BundleError, match="is a link"):
        open_bundle(zip_of(tmp_path / "a.zip", (link, b"/etc/passwd"), ("manifest.json", b"{}")))
    with pytest.raises(BundleError, match="unsupported compression"):
        open_bundle(zip_of(tmp_path / "b.zip", ("manifest.json", b"{}"), compression=zipfile.ZIP_LZMA))
    crowd = [(f"f{k}", b"") for k in range(200)]
    with pytest.raises(BundleError, match="more than 100 files"):
        open_bundle(zip_of(tmp_path / "c.zip", *crowd))
    path = zip_of(tmp_path / "d.zip", ("manifest.jsonXx", b"{}"))
    path.write_bytes(path.read_bytes().replace(b"jsonXx", b"json\0x"))
    with pytest.raises(BundleError, match="names a file"):
        open_bundle(path)


def test_a_list_of_files_that_would_take_much_memory_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "b.zip"
    directory = (b"PK\x01\x02" + bytes(42)) * 100_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(directory), 0, 0)
    path.write_bytes(directory + end)
    with pytest.raises(BundleError, match="list of files"):
        open_bundle(path)


def test_a_folder_of_everything_is_refused_at_once(tmp_path: Path) -> None:
    for k in range(150):
        (tmp_path / f"f{k}").touch()
    with pytest.raises(BundleError, match="more than 100 files"):
        open_bundle(tmp_path)


def test_what_is_no_bundle_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "empty").touch()
    (tmp_path / "with-pipe").mkdir()
    os.mkfifo(tmp_path / "with-pipe" / "manifest.json")
    for path in (*(tmp_path / name for name in ("pipe", "loop", "empty", "with-pipe", "absent")), Path("/dev/zero")):
        with pytest.raises(EcgmoeError):
            open_bundle(path)


def test_a_folder_with_other_files_is_not_replaced_by_a_bundle(
    bundle_folder: Path, manifest: Manifest, files: dict[str, bytes | Path]
) -> None:
    (bundle_folder / "my-notes.txt").write_text("keep me")
    with pytest.raises(BundleError, match=r"my-notes\.txt, which is not part of the bundle"):
        write_bundle(bundle_folder, manifest, files, overwrite=True)
    assert (bundle_folder / "my-notes.txt").read_text() == "keep me"


def test_a_damaged_bundle_can_be_replaced(
    bundle_folder: Path, manifest: Manifest, files: dict[str, bytes | Path]
) -> None:
    (bundle_folder / "manifest.json").write_bytes(b"\xff")
    write_bundle(bundle_folder, manifest, files, overwrite=True)
    assert load_bundle(bundle_folder).manifest.name == "tiny"


def test_a_zip_is_replaced_only_by_one_that_can_be_read(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pack(bundle_folder, tmp_path / "b.zip")
    good = path.read_bytes()

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full_disk)
    with pytest.raises(BundleError, match="No space left"):
        pack(bundle_folder, path)
    assert path.read_bytes() == good
    assert sorted(item.name for item in tmp_path.iterdir()) == ["b.zip", "tiny"]


WRITER = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
from pathlib import Path
from tiny_bundle import tiny_files, tiny_manifest
from ecgmoe_edge.runtime.bundle import write_bundle
files = tiny_files()
while True:
    write_bundle(Path(sys.argv[1]), tiny_manifest(), files, overwrite=True)
    print("written", flush=True)
"""


def test_an_export_killed_at_any_moment_leaves_a_whole_bundle(bundle_folder: Path) -> None:
    code = WRITER.format(root=str(ROOT), tests=str(Path(__file__).parent))
    process = subprocess.Popen([sys.executable, "-c", code, str(bundle_folder)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(3):
        assert process.stdout.readline() == b"written\n"
    process.kill()
    process.wait(10)
    process.stdout.close()
    assert open_bundle(bundle_folder).manifest.name == "tiny"
