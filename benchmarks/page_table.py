"""Prints the figures of a benchmark and puts their table into a page of the documents, between the marks of the table.

python benchmarks/short_holes.py --out docs    # uses it
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def add_options(parser: argparse.ArgumentParser, page: str) -> None:
    """Add --data, --json and --out, which `publish` reads."""
    parser.add_argument("--data", type=Path, help="folder of recordings; default: the variable ECGMOE_DATA")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"put the table into DIR/{page}")


def publish(arguments: argparse.Namespace, figures: Any, table: str, page: str, mark: str) -> None:
    """Print the figures as JSON or as the table, and with --out replace what lies between the marks of the page.

    Args:
        arguments: of a parser with `add_options`.
        figures: what JSON holds.
        table: Markdown.
        page: name of the page in the folder --out.
        mark: the table lies between `<!-- mark: begin -->` and `<!-- mark: end -->`.
    """
    if arguments.out is not None:
        path = arguments.out / page
        begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
        head, rest = path.read_text(encoding="utf-8").split(begin)
        path.write_text(f"{head}{begin}\n{table}\n{end}{rest.split(end)[1]}", encoding="utf-8")
    if arguments.json:
        json.dump(figures, sys.stdout, indent=2)
        print()
    else:
        print(table)
