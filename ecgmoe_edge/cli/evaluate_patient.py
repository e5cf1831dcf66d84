"""The patient's own layer in `evaluate`: a given one, or one that is fitted to the first minutes of each record."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ecgmoe_edge.cli.output import say
from ecgmoe_edge.errors import UsageError

if TYPE_CHECKING:
    from ecgmoe_edge.scoring.patient_specific import Protocol
    from ecgmoe_edge.scoring.record_runs import ModelFile
    from ecgmoe_edge.streaming.patient.own_layer import PatientLayer

_MINUTES = 5.0  # labelled minutes in the protocol of the literature


def layer_of(file: Path, model: ModelFile, *, adapts: bool) -> PatientLayer:
    """Load the layer of `--patient`.

    Args:
        file: the file.
        model: the model of the evaluation.
        adapts: whether `--adapt-minutes` is given.

    Raises:
        UsageError: the model is no bundle, or layers are fitted too.
        PatientFileError: the file is not valid, or is for another bundle.
    """
    if model.path is None or model.load is not None:
        raise UsageError("--patient belongs to a bundle: omit --teacher, --student and --only.")
    if adapts:
        raise UsageError("--patient has a layer already: omit it, or omit --adapt-minutes.")
    from ecgmoe_edge.runtime import load_bundle
    from ecgmoe_edge.runtime.patient_file import load_patient_layer, read_patient_file

    contents = read_patient_file(file)
    layer = load_patient_layer(file, load_bundle(model.path))
    first_s, last_s = contents.labelled_s
    say(
        f"These figures are patient-specific: the layer was fitted to {contents.recording}, from {first_s:.0f} "
        f"to {last_s:.0f} s, and the beats of this time are no test of it."
    )
    return layer


def adaptation_protocol(
    minutes: float | None, chosen: int | None, *, retrospective: bool, peaks_only: bool, whole: bool
) -> Protocol | None:
    """The protocol that `--adapt-minutes`, `--adapt-labels` and `--retrospective` select; None if none is given.

    Raises:
        UsageError: another option contradicts them.
    """
    if retrospective and (minutes is not None or chosen is None):
        raise UsageError("--retrospective chooses from the whole record: give --adapt-labels, and no --adapt-minutes.")
    if minutes is None and chosen is None:
        return None
    given = "--adapt-minutes" if minutes is not None else "--adapt-labels"
    if peaks_only:
        raise UsageError(f"--only rpeaks runs without a model: omit {given}.")
    if whole:
        raise UsageError(f"--whole also scores the minutes that {given} labels: omit one of them.")
    from ecgmoe_edge.adapt.protocol import personalise
    from ecgmoe_edge.scoring.patient_specific import Protocol

    labelled = math.inf if retrospective else _MINUTES if minutes is None else minutes
    return Protocol(partial(personalise, minutes=labelled, chosen=chosen), labelled, chosen)
