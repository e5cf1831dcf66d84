"""The file of a patient's own layer: written by `adapt`, read by `stream` and `evaluate`.

It is one JSON object of about 1 KB for one lead. It names the model and the leads that it belongs to; with another
model or another lead it is refused.
"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from ecgmoe_edge.durable_files import write_bytes
from ecgmoe_edge.errors import PatientFileError
from ecgmoe_edge.input_files import check_input_file, shown_path
from ecgmoe_edge.runtime.bundle import Bundle
from ecgmoe_edge.runtime.manifest import Name, Rate
from ecgmoe_edge.streaming.patient.own_layer import LAYER_CLASSES, LAYER_INPUTS, PatientLayer

PATIENT_SCHEMA: Final = 1
LARGEST_FILE: Final = 16_384  # bytes; a file has about 800 for each lead
_STORED = np.dtype("<f2")  # the labels are those of float64
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

Number = Annotated[int, Meta(ge=0, le=10**9)]
Seconds = Annotated[float, Meta(ge=0, le=1e10)]
Share = Annotated[float, Meta(ge=0, le=1)]
Loss = Annotated[float, Meta(ge=0, le=1e6)]
Digest = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Matrix = Annotated[str, Meta(max_length=4096)]


class LayerFigures(Struct, frozen=True, forbid_unknown_fields=True):
    """Figures of the labelled beats without and with the layer, cross-validated in blocks of time."""

    log_loss: tuple[Loss, Loss]  # mean over the beats, classes weighted as in the fit
    wrong: tuple[Number, Number]  # number of labelled beats that get another label


class PatientFile(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The contents of the file.

    `leads` has all leads of the recording; the value is the matrix of the lead, float16 in base64, or empty if this
    lead has no layer.
    """

    schema: int = PATIENT_SCHEMA
    created: datetime
    bundle: Name  # name of the bundle, for messages
    model_sha256: Digest  # digest of its model file
    recording: Name
    fs: Rate  # sampling rate of the recording, Hz; the layer does not depend on it
    labelled_s: tuple[Seconds, Seconds]  # first and last labelled beat, s
    invert: bool
    classes: tuple[Name, ...] = LAYER_CLASSES
    margin_share_s: Share | None  # constant of the decision rule for this patient; null: that of the bundle
    labels: dict[Name, Number]  # number of labels by class
    figures: LayerFigures
    leads: dict[Name, Matrix]

    def __post_init__(self) -> None:
        if self.classes != LAYER_CLASSES:
            raise ValueError(f"it is for the classes {', '.join(self.classes)}, not {', '.join(LAYER_CLASSES)}")
        if not any(self.leads.values()):
            raise ValueError("it has a layer for no lead")

    def layer(self) -> PatientLayer:
        """Return the layer.

        Raises:
            ValueError: a matrix has another size, or a number that is not finite or far too large.
        """
        weights = {lead: _decoded(text, lead) for lead, text in self.leads.items() if text}
        return PatientLayer(tuple(self.leads), weights, self.invert, self.margin_share_s)


class _SchemaOnly(Struct):
    schema: int


def encoded_weights(layer: PatientLayer) -> dict[str, str]:
    """Return the value of `leads` for a layer."""
    return {
        lead: base64.b64encode(layer.weights[lead].astype(_STORED).tobytes()).decode() if lead in layer.weights else ""
        for lead in layer.leads
    }


def model_digest(bundle: Bundle) -> str:
    """Return the sha256 of the model file of a bundle."""
    return bundle.manifest.files[bundle.manifest.model.file].sha256


def write_patient_file(path: Path, contents: PatientFile) -> None:
    """Write the file atomically.

    Raises:
        PatientFileError: the contents are too large for a file.
        OSError: the file cannot be written; an older file stays.
    """
    raw = msgspec.json.format(msgspec.json.encode(contents), indent=1) + b"\n"
    if len(raw) > LARGEST_FILE:
        raise PatientFileError(
            f"A layer of {len(contents.leads)} leads would take {len(raw):,} bytes, more than the {LARGEST_FILE:,} of "
            "a file: choose fewer leads."
        )
    write_bytes(path, raw)


def read_patient_file(path: Path) -> PatientFile:
    """Read a file, and check everything that does not depend on the bundle.

    Raises:
        PatientFileError: it is not the file of a patient's layer, is damaged, or is from another version.
        InputFileError: there is no such file, or it cannot be read.
    """
    check_input_file(path, "file of a patient's layer")
    shown = shown_path(path)
    with path.open("rb") as file:
        raw = file.read(LARGEST_FILE + 1)
    if len(raw) > LARGEST_FILE:
        raise PatientFileError(
            f"{shown} has over {LARGEST_FILE:,} bytes, too many for a patient's layer: name a file that "
            "`ecgmoe-edge adapt` wrote."
        )
    try:
        schema = msgspec.json.decode(raw, type=_SchemaOnly).schema
    except _UNREADABLE as error:
        raise PatientFileError(
            f"{shown} is not the file of a patient's layer ({_plain(error)}): name a file that `ecgmoe-edge adapt` "
            "wrote."
        ) from error
    if schema != PATIENT_SCHEMA:
        raise PatientFileError(
            f"{shown} has schema {schema}, and this version of ecgmoe-edge reads {PATIENT_SCHEMA}: fit the layer again "
            "with `ecgmoe-edge adapt`."
        )
    try:
        contents = msgspec.json.decode(raw, type=PatientFile)
        contents.layer()
    except (*_UNREADABLE, ValueError) as error:
        raise PatientFileError(
            f"{shown} is no valid patient's layer ({_plain(error)}): fit it again with `ecgmoe-edge adapt`."
        ) from error
    return contents


def load_patient_layer(path: Path, bundle: Bundle) -> PatientLayer:
    """Read the layer of a patient for a bundle; a monitor checks its leads.

    Raises:
        PatientFileError: the file is not valid, or is for another bundle.
        InputFileError: there is no such file, or it cannot be read.
    """
    contents = read_patient_file(path)
    if contents.model_sha256 != model_digest(bundle):
        raise PatientFileError(
            f"{shown_path(path)} was fitted for another model (bundle {contents.bundle}, sha256 "
            f"{contents.model_sha256[:8]}...): name that bundle with --bundle, or fit the layer again for this one "
            "with `ecgmoe-edge adapt`."
        )
    return contents.layer()


def _decoded(text: str, lead: str) -> NDArray[np.float64]:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"the layer of lead {lead} is not base64") from None
    shape = (LAYER_INPUTS, len(LAYER_CLASSES))
    if len(raw) != _STORED.itemsize * shape[0] * shape[1]:
        raise ValueError(f"the layer of lead {lead} has {len(raw)} bytes, not those of {shape[0]} x {shape[1]} numbers")
    return np.frombuffer(raw, _STORED).astype(np.float64).reshape(shape)


def _plain(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
