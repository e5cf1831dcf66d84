"""Write pretrained/MODEL_CARD.md of the full-precision model from the output files of training and evaluation.

    ecgmoe-edge evaluate --teacher --split ds2 --json > figures/ds2.json            # and so on, one file per data set
    python tools/teacher_card.py figures -o ecgmoe_edge/pretrained/MODEL_CARD.md

The weights' own files, teacher.json and training_data.json, are read from the folder of the card.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ecgmoe_edge.errors import EcgmoeError
from ecgmoe_edge.scoring.model_card import read_evaluations, teacher_card

PRETRAINED = Path("ecgmoe_edge/pretrained")


def main() -> int:
    """Read the figures, write the card, and print its path."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", type=Path, help="folder of the output files of `ecgmoe-edge evaluate --json`")
    parser.add_argument("-o", "--out", type=Path, default=PRETRAINED / "MODEL_CARD.md")
    arguments = parser.parse_args()
    folder = arguments.out.parent
    try:
        run = json.loads((folder / "teacher.json").read_text(encoding="utf-8"))
        training_data = json.loads((folder / "training_data.json").read_text(encoding="utf-8"))
        card = teacher_card(run, training_data, read_evaluations(arguments.figures))
        arguments.out.write_text(card, encoding="utf-8")
    except (EcgmoeError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 3
    print(arguments.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
