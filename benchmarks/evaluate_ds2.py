"""The frozen model on DS2, once: the complete live pipeline, scored beat by beat, and its speed.

DS2 is the test half of the MIT-BIH Arrhythmia Database. No model, epoch or threshold may be chosen with this output.

    python benchmarks/evaluate_ds2.py [--bundle PATH] [--data DIR] [--jobs N] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

from ecgmoe_edge.records.splits import locate
from ecgmoe_edge.runtime import shipped_bundle
from ecgmoe_edge.scoring.evaluation import EvaluationOptions, evaluate
from ecgmoe_edge.scoring.table import render_table


def main() -> None:
    """Print the table and the speed, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="default: the shipped one")
    parser.add_argument("--data", type=Path, help="folder of recordings; default: the variable ECGMOE_DATA")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes; default: one per core")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()

    started = time.perf_counter()
    options = EvaluationOptions(bundle=arguments.bundle or shipped_bundle())
    evaluation = evaluate(locate(arguments.data, split="ds2"), options, jobs=arguments.jobs)
    took_s = time.perf_counter() - started
    signal_s = sum(result.duration_s for result in evaluation.results)
    figures = evaluation.to_json()
    figures["times_real_time"] = round(signal_s / took_s, 1)
    if arguments.json:
        json.dump(figures, sys.stdout, indent=2)
        print()
        return
    print(render_table(figures))
    print(f"{signal_s / 3600:.1f} h in {took_s:.0f} s on {arguments.jobs} processes:", end=" ")
    print(f"{figures['times_real_time']:.0f} times real time")


if __name__ == "__main__":
    main()
