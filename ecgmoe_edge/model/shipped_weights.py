"""Recognises damaged copies of shipped weights whose files are too old to contain a checksum."""

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
_LARGE = 64  # a tensor with this many elements is different in every training
_SHORT = 16  # hexadecimal digits of the digest of one tensor


class ShippedWeights(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """SHA-256 digests of one file: of all tensors, of the metadata, and a short one of each large tensor."""

    tensors_sha256: str
    metadata_sha256: str
    tensors: dict[str, str]


def is_damaged_copy(tensors: Mapping[str, Tensor], tensors_sha256: str, metadata_sha256: str) -> bool:
    """Whether a file is a copy of a shipped file with some changes.

    It is, if most of its large tensors are those of a shipped file, and a digest of the whole differs. Another training
    with the same configuration has different numbers in all large tensors.

    Args:
        tensors: tensors of the file.
        tensors_sha256: digest of all its tensors.
        metadata_sha256: digest of its metadata.

    Raises:
        ModelError: the list of digests in the package is damaged.
    """
    found = large_tensors(tensors)
    for known in shipped_weights().values():
        same = sum(found.get(name) == digest for name, digest in known.tensors.items())
        if 2 * same > len(known.tensors):
            return (tensors_sha256, metadata_sha256) != (known.tensors_sha256, known.metadata_sha256)
    return False


@functools.cache
def shipped_weights() -> Mapping[str, ShippedWeights]:
    """Digests of the shipped files that do not contain a checksum, by name of the file.

    Raises:
        ModelError: the list of digests in the package is damaged.
    """
    path = Path(str(resources.files("ecgmoe_edge"))) / "pretrained" / NAME
    if not path.is_file():
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, ShippedWeights])
    except (OSError, ValueError) as error:  # the errors of msgspec are ValueErrors
        raise ModelError(f"{path} is damaged ({error}). Install ecgmoe-edge again.") from error


def large_tensors(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Short digests of the large tensors, by name."""
    found = {}
    for name, tensor in sorted(tensors.items()):
        if tensor.is_floating_point() and tensor.numel() >= _LARGE:
            digest = hashlib.sha256()
            update_digest(digest, name, tensor)
            found[name] = digest.hexdigest()[:_SHORT]
    return found


def update_digest(digest: Any, name: str, tensor: Tensor) -> None:
    """Update a `hashlib` digest with name, type, shape and content of a tensor."""
    digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(errors="surrogatepass"))
    digest.update(tensor.cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
