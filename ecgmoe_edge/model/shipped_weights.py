"""Knows a damaged copy of shipped weights, wherever it lies: those from before files carried a checksum have none."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from ecgmoe_edge.errors import ModelError

NAME = "digests.json"  # in the folder `pretrained`; `tools/weights_digests.py` writes it
_LEAST = 64  # numbers of a tensor that no other training has by chance
_SHORT = 16  # hex digits of a tensor's digest


class ShippedWeights(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Digests of one file: of all tensors, of the metadata, and a short one of each large tensor."""

    tensors_sha256: str
    metadata_sha256: str
    tensors: dict[str, str]


def is_damaged_copy(tensors: Mapping[str, Tensor], tensors_sha256: str, metadata_sha256: str) -> bool:
    """Whether most large tensors are those of a shipped file, and something else is not.

    Another training with the same configuration has other numbers in all of them.

    Raises:
        ModelError: the package's own list is damaged.
    """
    found = large_tensors(tensors)
    for known in shipped_weights().values():
        same = sum(found.get(name) == digest for name, digest in known.tensors.items())
        if 2 * same > len(known.tensors):
            return (tensors_sha256, metadata_sha256) != (known.tensors_sha256, known.metadata_sha256)
    return False


@functools.cache
def shipped_weights() -> Mapping[str, ShippedWeights]:
    """Digests of the shipped files that carry none themselves, by name (ModelError where the list is damaged)."""
    path = Path(str(resources.files("ecgmoe_edge"))) / "pretrained" / NAME
    if not path.is_file():
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, ShippedWeights])
    except (OSError, ValueError) as error:  # msgspec's own is a ValueError
        raise ModelError(f"{path} is damaged ({error}). Install ecgmoe-edge again.") from error


def large_tensors(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Short digests of the tensors that no other training has by chance."""
    found = {}
    for name, tensor in sorted(tensors.items()):
        if tensor.is_floating_point() and tensor.numel() >= _LEAST:
            digest = hashlib.sha256()
            put_tensor(digest, name, tensor)
            found[name] = digest.hexdigest()[:_SHORT]
    return found


def put_tensor(digest: Any, name: str, tensor: Tensor) -> None:
    """Add the name, type, shape and numbers of a tensor to a digest of `hashlib`."""
    digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(errors="surrogatepass"))
    digest.update(tensor.cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
