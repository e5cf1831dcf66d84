"""Write pretrained/digests.json: what the shipped weights from before files carried a checksum hold.

    python tools/weights_digests.py

The loader refuses a damaged copy of them by it, wherever that lies. Files with a checksum of their own are left out.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from ecgmoe_edge.durable_files import write_bytes
from ecgmoe_edge.model.shipped_weights import NAME, ShippedWeights
from ecgmoe_edge.model.weights_file import digests_of

PRETRAINED = Path("ecgmoe_edge/pretrained")


def digests(folder: Path) -> dict[str, ShippedWeights]:
    """File name -> digests, of the weights in a folder that carry none."""
    found = {path.name: digests_of(path) for path in sorted(folder.glob("*.safetensors"))}
    return {name: each for name, each in found.items() if each is not None}


def main() -> int:
    """Write, and say where."""
    write_bytes(PRETRAINED / NAME, msgspec.json.format(msgspec.json.encode(digests(PRETRAINED)), indent=1) + b"\n")
    sys.stdout.write(f"{PRETRAINED / NAME}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
