"""Which constants of the decision rule? F1 of S and V on the validation patients, for one change at a time.

A student is run once over all validation beats of DS1 and svdb; the rules are then applied with each variant. Figures
are those of all beats of a database, and the number of patients with more and with fewer wrong beats than with the
default rule. Never on DS2: constants are chosen here.

    python -m experiments.decision_rule [--student FILE] [--data DIR] [--cache DIR] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from numpy.typing import NDArray

import ecgmoe_edge
from ecgmoe_edge.compress.qat import load_qat
from ecgmoe_edge.model.student import load_student
from ecgmoe_edge.records.splits import data_folder
from ecgmoe_edge.streaming.decision import DecisionRule
from ecgmoe_edge.training.cache import cached_examples
from ecgmoe_edge.training.config import load_config
from ecgmoe_edge.training.examples import UNKNOWN, Examples, join
from ecgmoe_edge.training.sources import divide
from ecgmoe_edge.training.validate import beat_scores, clean_batches, decide, predict

SHIPPED = Path(ecgmoe_edge.__file__).parent / "pretrained" / "student-small-qat.safetensors"
RULE = DecisionRule()
#: Changes of the default rule, by name.
VARIANTS: Mapping[str, DecisionRule] = {
    "default": RULE,
    **{f"fibrillation_penalty {value:g}": replace(RULE, fibrillation_penalty=value) for value in (0.0, 1.5, 6.0)},
    **{f"fibrillation_beats {value}": replace(RULE, fibrillation_beats=value) for value in (32, 128)},
    f"fibrillation_irregular {not RULE.fibrillation_irregular}": replace(
        RULE, fibrillation_irregular=not RULE.fibrillation_irregular
    ),
    **{f"fibrillation_limit {value:g}": replace(RULE, fibrillation_limit=value) for value in (0.02, 0.15, 0.25)},
    **{f"margin_share_s {value:g}": replace(RULE, margin_share_s=value) for value in (0.0, 0.15, 0.4)},
    **{f"margin_share_v {value:g}": replace(RULE, margin_share_v=value) for value in (0.0, 0.15, 0.4)},
    **{f"shape_share {value:g}": replace(RULE, shape_share=value) for value in (0.0, 0.6, 1.0)},
    **{f"shape_correlation {value:g}": replace(RULE, shape_correlation=value) for value in (0.8, 0.9)},
    **{f"shape_early_share {value:g}": replace(RULE, shape_early_share=value) for value in (0.5, 1.0)},
}


def validation_examples(data: Path | None, cache: Path) -> dict[str, Examples]:
    """The validation beats of the databases with beat labels, by database."""
    folder = data_folder(data)
    sets = [one for one in load_config().data if one.name in ("mitdb", "svdb")]
    return {
        one.name: join([cached_examples(source, cache) for source in divide(one, folder).validation]) for one in sets
    }


def outputs_of(weights: Path, examples: Mapping[str, Examples]) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Outputs of a float or quantization-aware student, by database."""
    student = (load_qat if weights.stem.endswith(("-qat", "-symmetric")) else load_student)(weights).eval()
    torch.set_num_threads(1)
    return {
        name: predict(lambda batch: student(*batch.student_inputs(), route="hard"), clean_batches(one))
        for name, one in examples.items()
    }


def figures(
    rule: DecisionRule, outputs: Mapping[str, Mapping[str, NDArray[np.float32]]], examples: Mapping[str, Examples]
) -> tuple[dict[str, float], dict[str, int]]:
    """F1 of S and V by database, per cent, and the number of wrong beats of each record."""
    found: dict[str, float] = {}
    wrong: dict[str, int] = {}
    for name, one in examples.items():
        labels, truth = decide(outputs[name], one, rule), one.labels["beat"]
        known = truth != UNKNOWN
        scores = beat_scores(truth[known], labels[known])
        found |= {f"{name} {label}": scores[label].f1 or 0.0 for label in ("S", "V")}
        errors = known & (labels != truth)
        wrong |= {record: int(errors[one.record == number].sum()) for number, record in enumerate(one.records)}
    return found, wrong


def main() -> None:
    """Apply all variants, print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--student", type=Path, default=SHIPPED, help="weights; default: the shipped small QAT student")
    parser.add_argument("--data", type=Path, help="folder of recordings; default: the variable ECGMOE_DATA")
    parser.add_argument("--cache", type=Path, default=Path("runs/examples"), help="folder for the cached examples")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    examples = validation_examples(arguments.data, arguments.cache)
    outputs = outputs_of(arguments.student, examples)
    results = {}
    _, usual = figures(RULE, outputs, examples)
    for name, rule in VARIANTS.items():
        found, wrong = figures(rule, outputs, examples)
        results[name] = {
            **found,
            "wrong beats": sum(wrong.values()),
            "records better": sum(wrong[record] < count for record, count in usual.items()),
            "records worse": sum(wrong[record] > count for record, count in usual.items()),
        }
        line = "  ".join(
            f"{key} {value:.1f}" if isinstance(value, float) else f"{key} {value}"
            for key, value in results[name].items()
        )
        print(f"{name:<32}{line}", file=sys.stderr if arguments.json else sys.stdout, flush=True)
    if arguments.json:
        print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
