"""Weights on disk: safetensors with a format name and JSON configurations in the metadata. Nothing is
unpickled.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ecgmoe_edge.durable_files import replace_file
from ecgmoe_edge.errors import InputFileError, ModelError
from ecgmoe_edge.input_files import check_input_file
from ecgmoe_edge.model.shipped_weights import ShippedWeights, is_damaged_copy, large_tensors, put_tensor

Configuration = TypeVar("Configuration")

_DIGEST, _METADATA_DIGEST = "tensors_sha256", "metadata_sha256"  # in the metadata: find damage
LARGEST_WEIGHTS = 256 << 20  # bytes; the shipped teacher has some 5 MB
LARGEST_HEADER = 4 << 20  # bytes of names, shapes and configurations


def write_weights(
    path: Path | str,
    tensors: Mapping[str, Tensor],
    file_format: str,
    configurations: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write tensors with dataclass `configurations`; `metadata` is kept beside them. The file is replaced in one step.

    Raises:
        ModelError: it cannot be written; on a full disk, say. One that was there before is unchanged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    own = {"format": file_format}
    own.update({name: json.dumps(asdict(value)) for name, value in configurations.items()})
    plain = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    held = {**(metadata or {}), **own, _DIGEST: _digest(plain)}
    held[_METADATA_DIGEST] = _metadata_digest(held)
    try:
        with replace_file(path, lambda written: _check_written(written, plain)) as partial:
            save_file(plain, str(partial), metadata=held)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"The weights {path} cannot be written ({getattr(error, 'strerror', None) or error}). Make room, or name "
            "another folder with -o."
        ) from error


def _check_written(path: Path, tensors: Mapping[str, Tensor]) -> None:
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:  # it refuses a file that is shorter than its header says
        if set(file.keys()) != set(tensors):
            raise OSError(errno.EIO, "it does not hold what was written")


def read_weights(path: Path | str, file_format: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a file that `write_weights` wrote.

    Raises:
        ModelError: the file is missing, no safetensors, of another format, too large, or has numbers that are none.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    metadata = read_metadata(path)
    found = metadata.get("format", "no format at all")
    if found != file_format:
        raise ModelError(f"{path} holds {found!r}, not {file_format!r}. Give the file that this step asks for.")
    if (size := Path(path).stat().st_size) > LARGEST_WEIGHTS:
        raise ModelError(f"{path} has {size:,} bytes; weights have at most {LARGEST_WEIGHTS:,}. Give another file.")
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError, ValueError, KeyError) as error:  # the last two: a type that torch lacks
        raise ModelError(f"{path} cannot be read as safetensors ({error}). Give a file that training wrote.") from error
    refuse_not_finite(tensors, path)
    return tensors, metadata


def refuse_damaged(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], path: Path | str) -> None:
    """Refuse what is not what was written, where the file or the package says what was (ModelError)."""
    of_tensors, of_metadata = _digest(tensors), _metadata_digest(metadata)
    if _DIGEST in metadata or _METADATA_DIGEST in metadata:
        damaged = metadata.get(_DIGEST) not in (None, of_tensors)
        damaged = damaged or metadata.get(_METADATA_DIGEST) not in (None, of_metadata)
    else:  # from before a checksum was written
        damaged = is_damaged_copy(tensors, of_tensors, of_metadata)
    if damaged:
        raise ModelError(f"{path} is damaged: it does not hold what was written. Copy it again from its source.")


def digests_of(path: Path | str) -> ShippedWeights | None:
    """What is in a file that carries no checksum; None of one that does. Raises ModelError as `read_weights` does."""
    metadata = read_metadata(path)
    if _DIGEST in metadata:
        return None
    tensors, _ = read_weights(path, metadata.get("format", ""))
    return ShippedWeights(_digest(tensors), _metadata_digest(metadata), large_tensors(tensors))


def _metadata_digest(metadata: Mapping[str, str]) -> str:
    """Of all names and texts of the metadata, but for the digest itself."""
    held = json.dumps(sorted(item for item in metadata.items() if item[0] != _METADATA_DIGEST))
    return hashlib.sha256(held.encode()).hexdigest()


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """Of the names, types, shapes and numbers of all tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        put_tensor(digest, name, tensor)
    return digest.hexdigest()


def refuse_not_finite(tensors: Mapping[str, Tensor], path: Path | str) -> None:
    """Refuse tensors with NaN or infinite numbers, naming the first (ModelError)."""
    for name, tensor in tensors.items():
        if tensor.is_complex() or (tensor.is_floating_point() and not torch.isfinite(tensor.float()).all()):
            raise ModelError(f"{path}: the tensor {name!r} has numbers that are NaN or infinite. Train it again.")


def check_header(path: Path | str) -> None:
    """Refuse a safetensors file whose header says that it is longer than any is, before memory is taken for it.

    Raises:
        ModelError: the length is beyond the file or `LARGEST_HEADER`.
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        left = os.fstat(file.fileno()).st_size - len(start)
    if len(start) < 8 or length > min(left, LARGEST_HEADER):
        raise ModelError(
            f"{path} cannot be read as safetensors (its header is to have {length:,} bytes of the {left:,} there, and "
            f"{LARGEST_HEADER:,} is the most). Give a file that training wrote."
        )


def read_metadata(path: Path | str) -> dict[str, str]:
    """The metadata of a safetensors file, without its tensors.

    Raises:
        ModelError: the file is missing or no safetensors.
    """
    from safetensors import SafetensorError, safe_open

    try:
        check_input_file(Path(path), "weights file")
        check_header(path)
        with safe_open(str(path), framework="pt") as file:
            return dict(file.metadata() or {})
    except InputFileError as error:
        raise ModelError(f"The weights cannot be read: {error}") from error
    except (OSError, SafetensorError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as safetensors ({error}). Give a file that training wrote.") from error


def read_configuration(
    kind: type[Configuration], metadata: Mapping[str, str], name: str, path: Path | str
) -> Configuration:
    """The dataclass `kind` that the metadata hold under `name`; lists become tuples.

    Raises:
        ModelError: it is missing, or a key is unknown or of the wrong kind.
    """
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    try:
        decoded = json.loads(metadata.get(name, ""))
        unknown = sorted(decoded.keys() - known)
        if unknown:
            raise ModelError(f"{path}: unknown keys in its {name}: {', '.join(unknown)}.")
        return kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in decoded.items()})
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path} has no readable {name} ({error}).") from error


def load_exactly(module: nn.Module, tensors: Mapping[str, Tensor], path: Path | str) -> None:
    """Load tensors whose names and shapes are exactly the module's.

    Raises:
        ModelError: a tensor is unknown, missing or of another shape.
    """
    expected = {name: tensor.shape for name, tensor in module.state_dict().items()}
    given = {name: tensor.shape for name, tensor in tensors.items()}
    refuse_unlike(expected, given, path)
    module.load_state_dict(dict(tensors))


def refuse_unlike_made(make: Callable[[], nn.Module], tensors: Mapping[str, Tensor], path: Path | str) -> None:
    """Refuse tensors that are not exactly those of the module that `make` gives, before it takes any memory.

    A configuration may ask for far more than the file holds.

    Raises:
        ModelError: a tensor is unknown, missing or of another shape.
    """
    with torch.device("meta"):
        expected = {name: tensor.shape for name, tensor in make().state_dict().items()}
    refuse_unlike(expected, {name: tensor.shape for name, tensor in tensors.items()}, path)


def refuse_unlike(expected: Mapping[str, Any], given: Mapping[str, Any], path: Path | str) -> None:
    """Refuse tensors that are not exactly the expected ones; values are shapes, or None where shape does not
    matter.

    Raises:
        ModelError: a tensor is unknown, missing or of another shape.
    """
    names: Iterable[str] = expected.keys() | given.keys()
    wrong = sorted(n for n in names if n not in given or n not in expected or expected[n] != given[n])
    if wrong:
        raise ModelError(
            f"{path} does not fit its own configuration: {', '.join(wrong[:3])} ({len(wrong)} in all) unknown, "
            "missing or of another shape. It was changed or cut, or written by another version."
        )
