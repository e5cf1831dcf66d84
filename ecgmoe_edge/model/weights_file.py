"""Weights on disk: safetensors files whose metadata contain a format name, configurations as JSON, and checksums."""

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

Configuration = TypeVar("Configuration")

_DIGEST, _METADATA_DIGEST = "tensors_sha256", "metadata_sha256"  # metadata keys of the checksums
#: What to do with files of older versions, whose models have another beat window, other answers and other experts.
_OLD = {
    "ecgmoe-edge teacher 1": "train it again with `ecgmoe-edge train`",
    "ecgmoe-edge student 1": "distil it again with `ecgmoe-edge distill`",
    "ecgmoe-edge qat 1": "distil it again with `ecgmoe-edge distill`",
}
LARGEST_WEIGHTS = 256 << 20  # bytes; shipped teacher: about 5 MB
LARGEST_HEADER = 4 << 20  # bytes of names, shapes and configurations


def write_weights(
    path: Path | str,
    tensors: Mapping[str, Tensor],
    file_format: str,
    configurations: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write weights. The file is replaced in one step; after an error, the old file is unchanged.

    Args:
        path: the file; its folder must exist.
        tensors: the tensors by name.
        file_format: name of the format.
        configurations: dataclasses, stored as JSON under these names.
        metadata: further text entries.

    Raises:
        ModelError: the file cannot be written, for example because the disk is full.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    own = {"format": file_format}
    own.update({name: json.dumps(asdict(value)) for name, value in configurations.items()})
    plain = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    header = {**(metadata or {}), **own, _DIGEST: _digest(plain)}
    header[_METADATA_DIGEST] = _metadata_digest(header)
    try:
        with replace_file(path, lambda written: _check_written(written, plain)) as partial:
            save_file(plain, str(partial), metadata=header)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"The weights {path} cannot be written ({getattr(error, 'strerror', None) or error}). Free some space, or "
            "choose another folder with -o."
        ) from error


def _check_written(path: Path, tensors: Mapping[str, Tensor]) -> None:
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:  # refuses a truncated file
        if set(file.keys()) != set(tensors):
            raise OSError(errno.EIO, "reading it back gives other tensors")


def read_weights(path: Path | str, file_format: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and metadata of a file that `write_weights` wrote.

    Args:
        path: the file.
        file_format: the format that it must have.

    Raises:
        ModelError: the file is missing, is not a safetensors file, has another format, is too large, or contains NaN or
            infinity.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    metadata = read_metadata(path)
    found = metadata.get("format", "no format at all")
    if found in _OLD:
        raise ModelError(f"{path} is of an older version, with another beat window and other answers; {_OLD[found]}.")
    if found != file_format:
        raise ModelError(f"{path} contains {found!r}, not {file_format!r}. Give the file that this step needs.")
    if (size := Path(path).stat().st_size) > LARGEST_WEIGHTS:
        raise ModelError(f"{path} has {size:,} bytes; weights have at most {LARGEST_WEIGHTS:,}. Give another file.")
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError, ValueError, KeyError) as error:  # the last two: a data type that torch lacks
        raise ModelError(f"{path} cannot be read as safetensors ({error}). Give a file that training wrote.") from error
    refuse_not_finite(tensors, path)
    return tensors, metadata


def refuse_damaged(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], path: Path | str) -> None:
    """Compare the content of a file with its checksums.

    Args:
        tensors: tensors of the file.
        metadata: metadata of the file.
        path: the file, for the message.

    Raises:
        ModelError: the file is damaged, or has no checksums.
    """
    if (metadata.get(_DIGEST), metadata.get(_METADATA_DIGEST)) != (_digest(tensors), _metadata_digest(metadata)):
        raise ModelError(f"{path} is damaged: its content does not match its checksum. Copy it again from its source.")


def _metadata_digest(metadata: Mapping[str, str]) -> str:
    """SHA-256 of all entries of the metadata except this digest itself."""
    entries = json.dumps(sorted(item for item in metadata.items() if item[0] != _METADATA_DIGEST))
    return hashlib.sha256(entries.encode()).hexdigest()


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and content of all tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(errors="surrogatepass"))
        digest.update(tensor.cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def refuse_not_finite(tensors: Mapping[str, Tensor], path: Path | str) -> None:
    """Check that all tensors are finite.

    Raises:
        ModelError: a tensor contains NaN or infinity; the message names the first.
    """
    for name, tensor in tensors.items():
        if tensor.is_complex() or (tensor.is_floating_point() and not torch.isfinite(tensor.float()).all()):
            raise ModelError(f"{path}: the tensor {name!r} contains NaN or infinity. Train it again.")


def check_header(path: Path | str) -> None:
    """Check the length of the header of a safetensors file, before memory is allocated for it.

    Raises:
        ModelError: the header is longer than the file or than `LARGEST_HEADER`.
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        left = os.fstat(file.fileno()).st_size - len(start)
    if len(start) < 8 or length > min(left, LARGEST_HEADER):
        raise ModelError(
            f"{path} cannot be read as safetensors (its header should have {length:,} bytes; the file has {left:,} and "
            f"the limit is {LARGEST_HEADER:,}). Give a file that training wrote."
        )


def read_metadata(path: Path | str) -> dict[str, str]:
    """Read the metadata of a safetensors file, without its tensors.

    Raises:
        ModelError: the file is missing, or is not a safetensors file.
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
    """Read a configuration from metadata.

    Args:
        kind: the dataclass of the configuration; lists become tuples.
        metadata: metadata of the file.
        name: key of the configuration.
        path: the file, for the message.

    Raises:
        ModelError: the configuration is missing, or a key is unknown or has the wrong type.
    """
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    try:
        decoded = json.loads(metadata.get(name, ""))
        unknown = sorted(decoded.keys() - known)
        if unknown:
            raise ModelError(
                f"{path}: unknown keys in its {name}: {', '.join(unknown)}. Update ecgmoe-edge, or give another file."
            )
        return kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in decoded.items()})
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path} has no readable {name} ({error}). Give a file that training wrote.") from error


def load_exactly(module: nn.Module, tensors: Mapping[str, Tensor], path: Path | str) -> None:
    """Load tensors into a module with exactly the same names and shapes.

    Raises:
        ModelError: a tensor is unknown, missing or of another shape.
    """
    expected = {name: tensor.shape for name, tensor in module.state_dict().items()}
    given = {name: tensor.shape for name, tensor in tensors.items()}
    refuse_unlike(expected, given, path)
    module.load_state_dict(dict(tensors))


def refuse_unlike_made(make: Callable[[], nn.Module], tensors: Mapping[str, Tensor], path: Path | str) -> None:
    """Check the tensors of a file against the module that `make` builds, before the module is allocated.

    This protects against a configuration that requests much more memory than the file needs.

    Raises:
        ModelError: a tensor is unknown, missing or of another shape.
    """
    with torch.device("meta"):
        expected = {name: tensor.shape for name, tensor in make().state_dict().items()}
    refuse_unlike(expected, {name: tensor.shape for name, tensor in tensors.items()}, path)


def refuse_unlike(expected: Mapping[str, Any], given: Mapping[str, Any], path: Path | str) -> None:
    """Check that tensors are exactly the expected ones.

    Args:
        expected: expected shapes by name; None if the shape does not matter.
        given: shapes in the file, or None likewise.
        path: the file, for the message.

    Raises:
        ModelError: a tensor is unknown, missing or of another shape.
    """
    names: Iterable[str] = expected.keys() | given.keys()
    wrong = sorted(n for n in names if n not in given or n not in expected or expected[n] != given[n])
    if wrong:
        raise ModelError(
            f"{path} does not fit its own configuration: {len(wrong)} tensor(s) unknown, missing or of another shape, "
            f"such as {', '.join(wrong[:3])}. It was modified, truncated, or written by another version."
        )
