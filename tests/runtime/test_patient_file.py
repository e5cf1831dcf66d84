"""The file of a patient's own layer: small, and refused unless it is complete and for this model."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ecgmoe_edge.errors import InputFileError, PatientFileError
from ecgmoe_edge.runtime.patient_file import (
    LayerFigures,
    PatientFile,
    encoded_weights,
    load_patient_layer,
    model_digest,
    read_patient_file,
    write_patient_file,
)
from ecgmoe_edge.streaming.patient.own_layer import LAYER_CLASSES, LAYER_INPUTS, PatientLayer

SHAPE = (LAYER_INPUTS, len(LAYER_CLASSES))


def contents(layer: PatientLayer, digest: str = "0" * 64) -> PatientFile:
    return PatientFile(
        created=datetime(2026, 1, 2, tzinfo=timezone.utc),
        bundle="tiny",
        model_sha256=digest,
        recording="anna",
        fs=250.0,
        labelled_s=(1.0, 299.0),
        invert=layer.invert,
        margin_share_s=layer.margin_share_s,
        labels={"N": 300, "S": 0, "V": 40, "F": 0},
        figures=LayerFigures((0.5, 0.1), (30, 2)),
        leads=encoded_weights(layer),
    )


def layer_of(*leads: str) -> PatientLayer:
    random = np.random.default_rng(0)
    return PatientLayer(leads, {lead: random.normal(size=SHAPE).astype(np.float16).astype(float) for lead in leads})


@settings(max_examples=30, deadline=None)
@given(
    arrays(np.float16, SHAPE, elements=st.floats(-100, 100, width=16)),
    st.sampled_from([None, 0.0, 0.25]),
    st.booleans(),
    st.lists(
        st.text(st.characters(codec="latin-1", min_codepoint=32, exclude_characters="\x7f"), min_size=1, max_size=20),
        min_size=1,
        unique=True,
    ),
)
def test_a_layer_comes_back_from_its_file_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, weights: Any, share: float | None, invert: bool, leads: list[str]
) -> None:
    path = tmp_path_factory.mktemp("layer") / "patient.json"
    layer = PatientLayer(tuple(leads), {leads[0]: weights.astype(float)}, invert, share)
    write_patient_file(path, contents(layer))
    read = read_patient_file(path).layer()
    assert (read.leads, read.invert, read.margin_share_s) == (tuple(leads), invert, share)
    assert list(read.weights) == leads[:1]
    np.testing.assert_array_equal(read.weights[leads[0]], weights.astype(float))


def test_the_file_of_one_lead_has_little_more_than_1_kb_and_of_three_leads_less_than_4(tmp_path: Path) -> None:
    for leads, most in ((("II",), 1500), (("I", "II", "V1"), 4096)):
        path = tmp_path / "patient.json"
        write_patient_file(path, contents(layer_of(*leads)))
        assert path.stat().st_size < most


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(schema=2), "schema 2"),
        (lambda c: c.pop("schema"), "not the file"),
        (lambda c: c.update(colour="red"), "unknown field `colour`"),
        (lambda c: c["figures"].update(colour=1), "unknown field `colour`"),
        (lambda c: c.update(classes=["N", "V", "S", "F"]), "classes N, V, S, F"),
        (lambda c: c.update(model_sha256="0"), "model_sha256"),
        (lambda c: c.update(margin_share_s=2), "margin_share_s"),
        (lambda c: c.update(leads={}), "no lead"),
        (lambda c: c.update(leads={"II": ""}), "no lead"),
        (lambda c: c["leads"].update(II="AAAA"), "3 bytes"),
        (lambda c: c["leads"].update(II="?" + c["leads"]["II"][1:]), "not base64"),
        (lambda c: c["leads"].update(II="AHwA" + c["leads"]["II"][4:]), "beyond"),  # infinity
        (lambda c: c["leads"].update(II="AH4A" + c["leads"]["II"][4:]), "beyond"),  # NaN
        (lambda c: c.update(labels={"N": -1}), "labels"),
    ],
)
def test_a_damaged_file_is_refused_in_one_sentence_that_says_what_to_do(
    tmp_path: Path, change: Change, message: str
) -> None:
    raw = json.loads(msgspec.json.encode(contents(layer_of("II"))))
    change(raw)
    path = tmp_path / "patient.json"
    path.write_text(json.dumps(raw))
    with pytest.raises(PatientFileError, match=message) as refused:
        read_patient_file(path)
    assert "ecgmoe-edge adapt" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 3


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 1200))
def test_no_bytes_end_in_anything_but_a_layer_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int
) -> None:
    path = tmp_path_factory.mktemp("noise") / "patient.json"
    sound = msgspec.json.encode(contents(layer_of("II")))
    for raw in (noise, sound[:at] + noise + sound[at + len(noise) :]):
        path.write_bytes(raw)
        layer = None
        with contextlib.suppress(PatientFileError, InputFileError):
            layer = read_patient_file(path).layer()
        assert layer is None or all(np.isfinite(weights).all() for weights in layer.weights.values())


def test_a_missing_file_and_a_huge_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no file of a patient's layer"):
        read_patient_file(tmp_path / "absent.json")
    huge = tmp_path / "huge.json"
    huge.write_bytes(b" " * 20_000)
    with pytest.raises(PatientFileError, match="too many"):
        read_patient_file(huge)


def test_a_layer_of_too_many_leads_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "patient.json"
    with pytest.raises(PatientFileError, match="choose fewer leads"):
        write_patient_file(path, contents(layer_of(*(f"V{number}" for number in range(40)))))
    assert not path.exists()


def test_the_layer_of_another_model_is_refused_with_the_name_of_its_bundle(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the small bundle runs in onnxruntime")
    from tiny_bundle import write_tiny_bundle

    from ecgmoe_edge.runtime.bundle import load_bundle

    bundle = load_bundle(write_tiny_bundle(tmp_path / "tiny"))
    path = tmp_path / "patient.json"
    write_patient_file(path, contents(layer_of("II"), model_digest(bundle)))
    assert load_patient_layer(path, bundle).leads == ("II",)
    write_patient_file(path, msgspec.structs.replace(read_patient_file(path), model_sha256="f" * 64))
    with pytest.raises(PatientFileError, match=r"another model \(bundle tiny, sha256 ffffffff"):
        load_patient_layer(path, bundle)


def test_a_layer_with_impossible_weights_cannot_be_made() -> None:
    layer = layer_of("II")
    for weights in (np.zeros((3, 4)), np.full(SHAPE, np.nan), np.full(SHAPE, 1e6)):
        with pytest.raises(ValueError, match="the layer of lead II"):
            replace(layer, weights={"II": weights})
    with pytest.raises(ValueError, match="not among II"):
        PatientLayer(("II",), {"V1": np.zeros(SHAPE)})
