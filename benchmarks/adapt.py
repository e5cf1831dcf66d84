"""How long the fit of a patient's own layer takes, and how large its file is.

    python benchmarks/adapt.py [--labels 100,400,2000] [--leads 1,2]

The beats are drawn at random: the time depends on their number, not on the patient. The fit runs on one thread. The
figures are printed as a table in Markdown.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is loaded
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))

from ecgmoe_edge.adapt.fit import Labelled, fit_weights
from ecgmoe_edge.runtime.patient_file import LayerFigures, PatientFile, encoded_weights, write_patient_file
from ecgmoe_edge.streaming.patient.own_layer import LAYER_CLASSES, LAYER_INPUTS, PatientLayer

_REPEATS = 5
_SHARES = (0.8, 0.05, 0.12, 0.03)  # of the classes


def fit_once(labels: int, leads: int, seed: int) -> tuple[float, PatientLayer]:
    """Fit the layers of some leads to random beats; return the time in s and the layer."""
    random = np.random.default_rng(seed)
    weights, seconds = {}, 0.0
    for lead in range(leads):
        classes = random.choice(len(LAYER_CLASSES), labels, p=_SHARES)
        centres = random.normal(size=(len(LAYER_CLASSES), LAYER_INPUTS))
        inputs = 0.5 * centres[classes] + random.normal(size=(labels, LAYER_INPUTS))
        logits = random.normal(size=(labels, len(LAYER_CLASSES)))
        labelled = Labelled(np.arange(labels), classes, np.ones(labels))
        started = time.perf_counter()
        weights[f"V{lead + 1}"] = fit_weights(logits, inputs, labelled)
        seconds += time.perf_counter() - started
    return seconds, PatientLayer(tuple(weights), weights, margin_share_s=0.0)


def file_bytes(layer: PatientLayer) -> int:
    """Return the size of the file of a layer."""
    contents = PatientFile(
        created=datetime.now(timezone.utc).replace(microsecond=0),
        bundle="generic-cpu",
        model_sha256="0" * 64,
        recording="recording",
        fs=360.0,
        labelled_s=(0.812, 299.371),
        invert=layer.invert,
        margin_share_s=layer.margin_share_s,
        labels=dict.fromkeys(LAYER_CLASSES, 100),
        figures=LayerFigures((0.12345, 0.01234), (34, 5)),
        leads=encoded_weights(layer),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "patient.json"
        write_patient_file(path, contents)
        return path.stat().st_size


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--labels", default="100,400,2000")
    parser.add_argument("--leads", default="1,2")
    arguments = parser.parse_args()
    print("| leads | labels | fit, ms | file, bytes |\n| ---: | ---: | ---: | ---: |")
    for leads in map(int, arguments.leads.split(",")):
        for labels in map(int, arguments.labels.split(",")):
            runs = [fit_once(labels, leads, seed) for seed in range(_REPEATS)]
            fastest = min(seconds for seconds, _ in runs)
            print(f"| {leads} | {labels} | {1000 * fastest:.1f} | {file_bytes(runs[0][1])} |")


if __name__ == "__main__":
    main()
