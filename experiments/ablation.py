"""What each part of the teacher contributes: the same short training run without it, on a fixed subset.

Only validation figures are computed. Each variant takes three to eleven minutes on one processor core, and less on a
GPU, which is used if there is one. Finished variants are kept in the work folder, so an interrupted run continues. The
table is written into docs/ablation.md.

    python -m experiments.ablation [--data DIR] [--epochs N] [--seeds N] [--only NAME ...] [--json]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import sys
import time
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from ecgmoe_edge.model.shared_layers import Route
from ecgmoe_edge.model.teacher import EcgMoe
from ecgmoe_edge.model.teacher_config import TeacherConfig
from ecgmoe_edge.training.augment import Batch
from ecgmoe_edge.training.cache import ExampleSets
from ecgmoe_edge.training.config import Draw
from ecgmoe_edge.training.limits import choose_device
from experiments.short_fit import BEATS, RECORDS, Subset, figures, load_subset, losses_of, predict, short_fit

DRAW = Draw(normal=3000, s=1200, v=1800, f=200, rhythm=600, other=600)
TASKS = ("beat", "rhythm", "rr", "age", "sex")
COLUMNS = (
    "mitdb S F1", "mitdb V F1", "svdb S F1", "svdb V F1", "rhythm mean F1", "RR MAE, ms", "sex F1", "age MAE, years",
)  # fmt: skip
TEXT = """# Ablation

**This page answers:** what does each part of the teacher contribute?

Each row of the table is the same short training run without one part, on a fixed subset of the training recordings.

```sh
{command}
```

Run on {device}, {epochs} epochs, mean of {seeds} seed(s){spread}. **These are figures of a short training run on
validation patients**: they compare the rows with each other and are not figures of the shipped model.

- `mitdb` is `ds1-val` and `svdb` is `svdb-val`: F1 of S and V on detected beats with an annotated partner, from
  logits before the decision rule.
- Rhythm is the mean F1 of N, AF and other on CinC 2017; sex and age are from PTB-XL. Both are scored on records
  that a stable hash holds out of their training parts.
- Five patients of `mitdb` and twelve of `svdb` are few, and the run is short. One patient whose beats change class
  changes a figure by ten points. So a difference in one column alone means little.

{table}

Without the rhythm path, S and N differ by the waveform alone. Without LoRA, all tasks share one fusion block.
Without the gate, all backbones have the same weight. Without the measured RR interval, the RR head learns from the
waveform and from embeddings that contain only ratios. Each task is trained on its own labels with the loss weights
of the teacher; the full training also learns about beats without labels from the rhythm, which is left out here.

{findings}
"""
FINDINGS = "What the table shows:"  # start of the paragraphs that a person writes; a new table keeps them


def variants() -> dict[str, TeacherConfig]:
    """The complete teacher, and the teacher without one part each."""
    whole = TeacherConfig(tasks=TASKS)
    less = msgspec.structs.replace
    kinds = {spec.kind: spec for spec in whole.backbones}
    return {
        "all parts": whole,
        "without the gate": less(whole, gate=False),
        "without the morphology path": less(whole, morphology_path=False),
        "without the rhythm path": less(whole, rhythm_path=False),
        "without LoRA": less(whole, lora_rank=0),
        "without the measured RR interval": less(whole, rr_prior=False),
        **{
            f"without {kind}": less(whole, backbones=tuple(s for s in whole.backbones if s.kind != kind))
            for kind in kinds
        },
        **{f"{kind} alone": less(whole, backbones=(spec,)) for kind, spec in kinds.items()},
    }


def run_one(config: TeacherConfig, subset: Subset, epochs: int, seed: int, device: torch.device) -> dict[str, float]:
    """Train one variant; return its figures, parameters and minutes."""
    torch.manual_seed(seed)
    model = EcgMoe(config).to(device)

    def run(batch: Batch, route: Route = "hard") -> dict[str, Tensor]:
        outputs: dict[str, Tensor] = model(*batch.teacher_inputs(), route=route)
        return outputs

    def loss_of(batch: Batch, epoch: int) -> Tensor:
        return losses_of(run(batch, "soft" if epoch == 0 else "hard"), batch, TASKS)

    started = time.monotonic()
    short_fit(model, loss_of, subset, DRAW, epochs=epochs, seed=seed, device=device)
    outputs = {name: predict(run, examples, device) for name, examples in subset.validation.items()}
    return figures(outputs, subset.validation) | {
        "parameters": float(sum(p.numel() for p in model.parameters())),
        "minutes": (time.monotonic() - started) / 60.0,
    }


def table(results: dict[str, list[dict[str, float]]]) -> str:
    """A Markdown table with one row per variant."""
    lines = [
        "| | " + " | ".join(COLUMNS) + " | parameters | minutes |",
        "| --- |" + " ---: |" * (len(COLUMNS) + 2),
    ]
    for name, runs in results.items():
        cells = [f"{statistics.mean(run[column] for run in runs):.1f}" for column in COLUMNS]
        minutes = statistics.mean(run["minutes"] for run in runs)
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {runs[0]['parameters']:,.0f} | {minutes:.1f} |")
    return "\n".join(lines)


def spread(results: dict[str, list[dict[str, float]]]) -> str:
    """How much seeds of the complete teacher differ, in words; empty for one seed."""
    runs = results.get("all parts", [])
    if len(runs) < 2:
        return ""
    widest = {c: max(r[c] for r in runs) - min(r[c] for r in runs) for c in COLUMNS[:4]}
    return "; seeds of the complete teacher differ by " + ", ".join(f"{w:.1f} ({c})" for c, w in widest.items())


def findings_in(page: Path) -> str:
    """The paragraphs that a person wrote under the table of the page, or a placeholder."""
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    return FINDINGS + (text.partition(FINDINGS)[2].rstrip("\n") or " not written yet.")


def what_was_fitted(subset: Subset, epochs: int, device: torch.device) -> str:
    """Short digest of examples, epochs and source code of model and training: results of other code are not reused."""
    sets = ExampleSets(subset.fit, dict(subset.validation))
    digest = hashlib.sha256(f"{sets.digest()} {epochs} {device.type} {torch.__version__}".encode())
    root = Path(__file__).parents[1]
    sources = [Path(__file__), root / "experiments" / "short_fit.py"]
    for folder in ("model", "training"):
        sources += sorted((root / "ecgmoe_edge" / folder).glob("*.py"))
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def main() -> None:
    """Train the variants, write the table, print it or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of recordings; default: the variable ECGMOE_DATA")
    parser.add_argument("--work", type=Path, default=Path("runs/ablation"), help="examples and finished variants")
    parser.add_argument("--out", type=Path, default=Path("docs/ablation.md"))
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", action="append", help="a variant by its name; may be given more than once")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    data = arguments.data or (Path(os.environ["ECGMOE_DATA"]) if "ECGMOE_DATA" in os.environ else None)
    if data is None:
        parser.error("give --data, or set ECGMOE_DATA")
    torch.set_num_threads(arguments.threads)
    device = choose_device(arguments.device)
    arguments.work.mkdir(parents=True, exist_ok=True)
    subset = load_subset(data, arguments.work / "examples", BEATS + RECORDS, os.cpu_count() or 1)
    done_file = arguments.work / f"results-{what_was_fitted(subset, arguments.epochs, device)}.json"
    done: dict[str, dict[str, float]] = json.loads(done_file.read_text()) if done_file.is_file() else {}
    results: dict[str, list[dict[str, float]]] = {}
    for name, config in variants().items():
        if arguments.only and name not in arguments.only:
            continue
        for seed in range(1, arguments.seeds + 1):
            key = f"{name}, seed {seed}"
            if key not in done:
                done[key] = run_one(config, subset, arguments.epochs, seed, device)
                done_file.write_text(json.dumps(done, indent=1))
            results.setdefault(name, []).append(done[key])
            print(f"{key}: {done[key]['minutes']:.1f} min", file=sys.stderr)
    options = [f"--epochs {arguments.epochs}", f"--seeds {arguments.seeds}"]
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"{arguments.threads} processor core(s)"
    text = TEXT.format(
        command=" ".join(["python -m experiments.ablation", *options]), device=where, epochs=arguments.epochs,
        seeds=arguments.seeds, spread=spread(results), table=table(results), findings=findings_in(arguments.out),
    )  # fmt: skip
    if not arguments.only:
        arguments.out.write_text(text, encoding="utf-8")
    print(json.dumps({"ablation": results}, indent=1) if arguments.json else table(results))


if __name__ == "__main__":
    main()
