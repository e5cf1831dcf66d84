"""Write table and plot of the R-peak comparison into docs/rpeaks.md, from the figures that the benchmark printed.

    python benchmarks/rpeaks.py --split ds1 --json > ds1.json
    python tools/rpeaks_page.py ds1.json --name ds1 --command "python benchmarks/rpeaks.py --split ds1" [--out docs]

`benchmarks/rpeaks.py --out docs` does both at once.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

OURS = "ours"
FUSED = "ours_fused"  # uses all leads of a record, so it has its own row: the others use the first lead only
LEAST_ERROR = 0.005  # %, drawn for an error of 0, because the axis is logarithmic


def markdown(figures: dict[str, dict[str, Any]], command: str, picture: str) -> str:
    """The figures as tables for the documents, with the command that makes them."""
    lines = [f"`{command}`", "", "| detector | Se 150 ms | +P 150 ms | Se 50 ms | +P 50 ms | hours of ECG a second |"]
    lines += ["| --- " + "| ---: " * 5 + "|"]
    for name, row in figures.items():
        cells = [row[key] for key in ("se150", "ppv150", "se50", "ppv50", "hours_per_s")]
        lines.append(f"| {name} | " + " | ".join("-" if cell is None else f"{cell:.2f}" for cell in cells) + " |")
    if FUSED in figures:
        lines += ["", f"`{FUSED}` uses all leads of a record, the others its first lead."]
    noise: dict[str, Any] = next((row["noise"] for row in figures.values() if "noise" in row), {})
    for kind, at_snr in noise.items():
        lines += ["", f"F1 % on records 118 and 119 with noise `{kind}`:", ""]
        lines += [
            f"| detector | {' | '.join(f'{snr} dB' for snr in at_snr)} |",
            "| --- " + "| ---: " * len(at_snr) + "|",
        ]
        for name, row in figures.items():
            cells = [row["noise"][kind][snr]["f1"] for snr in at_snr]
            lines.append(f"| {name} | " + " | ".join("-" if cell is None else f"{cell:.1f}" for cell in cells) + " |")
    ours = figures.get(OURS, {})
    if ours.get("delay_ms"):
        delay = ours["delay_ms"]
        lines += [
            "",
            f"Ours, live: detection delay mean {delay['mean']:.0f} ms, 95th percentile {delay['p95']:.0f} ms;",
        ]
        lines += [f"{ours['live_times_real_time']:.0f} times real time on one core in 20 ms chunks."]
    if "memory" in ours:
        memory = ours["memory"]
        lines += [
            f"Memory over a stream of {memory['hours']} h: {memory['after_first_hour_mib']:.1f} MiB after one hour,"
        ]
        lines += [f"{memory['at_end_mib']:.1f} MiB at the end."]
    return "\n".join([*lines, "", f"![Errors and F1 under noise by detector]({picture})"])


def plot(figures: dict[str, dict[str, Any]], file: Path) -> None:
    """Plot errors on clean records, and F1 under noise if it was measured."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    noise = {name: at_snr for name, row in figures.items() for at_snr in row.get("noise", {}).values()}
    picture, axes = plt.subplots(1, 2 if noise else 1, figsize=(11 if noise else 6, 4), squeeze=False)
    names = list(reversed(figures))
    for key, label, mark in (("f1150", "within 150 ms", "o"), ("f150", "within 50 ms", "D")):
        errors = [max(LEAST_ERROR, 100.0 - (figures[name][key] or 0.0)) for name in names]
        axes[0, 0].plot(errors, names, mark, label=label)
    axes[0, 0].set(xscale="log", xlabel="100 - F1, %", title="R peaks, clean")
    axes[0, 0].grid(axis="x", which="both", alpha=0.3)
    axes[0, 0].legend()
    for name, at_snr in noise.items():
        snrs = [float(snr) for snr in at_snr]
        axes[0, 1].plot(snrs, [row["f1"] for row in at_snr.values()], "o-", label=name, lw=2.5 if name == OURS else 1.2)
    if noise:
        axes[0, 1].set(xlabel="SNR, dB", ylabel="F1, %", title="records 118 and 119 with noise")
        axes[0, 1].legend()
    picture.tight_layout()
    picture.savefig(file, dpi=120)
    plt.close(picture)


def write_page(folder: Path, name: str, figures: dict[str, dict[str, Any]], command: str) -> None:
    """Write table, plot and JSON into a folder, and the table between its marks in the folder's rpeaks.md."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / f"rpeaks-{name}.png"
    plot(figures, picture)
    (folder / f"rpeaks-{name}.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    table = markdown(figures, command, picture.name)
    page = folder / "rpeaks.md"
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    if begin in text and end in text:
        head, tail = text.split(begin)[0], text.split(end)[1]
        page.write_text(f"{head}{begin}\n{table}\n{end}{tail}", encoding="utf-8")
    else:
        (folder / f"rpeaks-{name}.md").write_text(table + "\n", encoding="utf-8")


def main() -> None:
    """Read the figures, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", type=Path, help="output of `benchmarks/rpeaks.py --json`")
    parser.add_argument("--name", required=True, help="the marks in the page, and the names of plot and JSON")
    parser.add_argument("--command", required=True, help="the command that made the figures, as the page shows it")
    parser.add_argument("--out", type=Path, default=Path("docs"), metavar="DIR", help="folder of rpeaks.md")
    arguments = parser.parse_args()
    try:
        figures = json.loads(arguments.figures.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        parser.exit(3, f"error: {arguments.figures}: {error}\n")
    write_page(arguments.out, arguments.name, figures, arguments.command)


if __name__ == "__main__":
    main()
