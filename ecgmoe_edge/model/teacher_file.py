"""Teachers on disk: weights and configuration in one safetensors file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from ecgmoe_edge.errors import ModelError
from ecgmoe_edge.model.teacher import EcgMoe
from ecgmoe_edge.model.teacher_config import BackboneSpec, TeacherConfig, refuse_code
from ecgmoe_edge.model.weights_file import load_exactly, read_weights, refuse_damaged, refuse_unlike_made, write_weights

_FORMAT = "ecgmoe-edge teacher 2"


def save_teacher(path: Path, model: EcgMoe, metadata: Mapping[str, str] | None = None) -> None:
    """Write weights and configuration in one step; a file that was there before is kept if this fails.

    The weights of pretrained backbones are not part of the file. They stay in their own files.

    Args:
        path: the file; its folder must exist.
        model: the teacher.
        metadata: further text entries of the file's header, such as the digest of the training configuration.

    Raises:
        ModelError: the file cannot be written.
    """
    header = {**(metadata or {}), "config": msgspec.json.encode(model.config).decode()}
    write_weights(path, model.state_dict(), _FORMAT, {}, header)


def load_teacher(path: Path, *, trust_code: bool = False) -> EcgMoe:
    """Load a teacher that `save_teacher` wrote, in evaluation mode.

    Args:
        path: the file.
        trust_code: whether the function that the file names for a pretrained backbone may be imported and called. An
            entry point of an installed package is always allowed.

    Raises:
        ModelError: the file is missing, is not a teacher, is damaged, names code without `trust_code`, or does not fit
            its own configuration.
    """
    weights, header = read_weights(path, _FORMAT)
    try:
        config = msgspec.json.decode(header.get("config", "null"), type=TeacherConfig)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ModelError(f"{path} was written by another version of this model ({error}). Train again.") from error
    if not trust_code:
        refuse_code(config.backbones, str(path))
    specs = tuple(_with_weights(spec, path) for spec in config.backbones)
    config = msgspec.structs.replace(config, backbones=specs)
    if all(spec.kind != "pretrained" for spec in specs):  # a pretrained backbone reads its weights when it is built
        refuse_unlike_made(lambda: EcgMoe(config), weights, path)
    refuse_damaged(weights, header, path)
    model = EcgMoe(config)
    load_exactly(model, weights, path)
    return model.eval()


def _with_weights(spec: BackboneSpec, teacher: Path) -> BackboneSpec:
    """A backbone with the present place of its weights.

    The file of a pretrained backbone may have moved to the teacher's folder. The weights of all other kinds are in the
    teacher's file.
    """
    if spec.kind != "pretrained":
        return msgspec.structs.replace(spec, weights=None)
    beside = teacher.parent / Path(str(spec.weights)).name
    unmoved = Path(str(spec.weights)).expanduser().is_file()
    return spec if unmoved or not beside.is_file() else msgspec.structs.replace(spec, weights=str(beside))
