"""A frozen pretrained network of another project as a backbone; see docs/pretrained-backbones.md.

Its weights come from a local safetensors file. They are neither trained nor saved with the teacher; loading the teacher
reads them again from their own file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ecgmoe_edge.errors import InputFileError, ModelError
from ecgmoe_edge.input_files import check_input_file
from ecgmoe_edge.model.teacher_config import ENTRY_POINTS, BackboneSpec
from ecgmoe_edge.model.weights_file import check_header, refuse_not_finite

_FOREIGN_ERRORS = (Exception, SystemExit)  # code of other projects may also exit; that must not end the program


class PretrainedBackbone(nn.Module):
    """A frozen network and a trained projection: (b, leads, length) to (b, d)."""

    def __init__(self, spec: BackboneSpec, d: int, leads: int) -> None:
        super().__init__()
        self.place, self.leads = spec.place or tuple(range(leads)), spec.leads or leads
        _check(spec, self.place, self.leads, leads)
        network = _make(str(spec.factory))
        path = Path(str(spec.weights)).expanduser()
        _load(network, path, spec.sha256)
        network.eval().requires_grad_(requires_grad=False)
        # In a tuple, so that torch does not register it: it has no parameters and no state here, and train() does not
        # reach it. `_apply` still moves it to another device.
        self._network = (network,)
        self.project = nn.Linear(_width(network, self.leads, spec), d)

    @property
    def network(self) -> nn.Module:
        """The frozen network, always in evaluation mode."""
        return self._network[0]

    def forward(self, x: Tensor) -> Tensor:
        """See the class. If the network gives tokens (b, tokens, width), their mean is projected."""
        placed = x
        if self.leads != x.shape[1] or self.place != tuple(range(self.leads)):
            placed = x.new_zeros(len(x), self.leads, x.shape[2])
            placed[:, list(self.place)] = x
        with torch.no_grad():
            features = self.network(placed)
            features = features.mean(1) if features.dim() == 3 else features
        return torch.as_tensor(self.project(features))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PretrainedBackbone:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.network._apply(fn)  # type: ignore[no-untyped-call]
        return self


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of any safetensors file.

    Raises:
        ModelError: it is missing, is not a safetensors file, or has values that are not finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        check_input_file(path, "file of backbone weights")
        check_header(path)
        tensors: dict[str, Tensor] = load_file(path)
        refuse_not_finite(tensors, path)
    except (OSError, SafetensorError, InputFileError) as error:
        raise ModelError(
            f"Backbone weights {path.absolute()} cannot be read ({error}). Give a safetensors file under `weights`; "
            "that of a pretrained backbone may also be in the folder of the teacher's file."
        ) from error
    return tensors


def check_state(path: Path, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Check that the tensors of a file are exactly those of a network.

    Args:
        path: the file, for the message.
        expected: state of the network.
        found: tensors of the file.

    Raises:
        ModelError: a tensor is missing, unknown or of another shape; the message names the first three.
    """
    faults = [f"{name} is missing" for name in sorted(expected.keys() - found.keys())]
    faults += [f"{name} is not in the network" for name in sorted(found.keys() - expected.keys())]
    faults += [
        f"{name} has shape {tuple(found[name].shape)} and in the network {tuple(expected[name].shape)}"
        for name in sorted(expected.keys() & found.keys())
        if expected[name].shape != found[name].shape
    ]
    if faults:
        raise ModelError(
            f"Backbone weights {path} do not fit the network ({len(faults)} faults): {'; '.join(faults[:3])}. "
            "Give the weights of this network."
        )


def _check(spec: BackboneSpec, place: tuple[int, ...], network_leads: int, leads: int) -> None:
    if spec.factory is None or spec.weights is None:
        raise ModelError("A pretrained backbone needs `factory` (what makes the network) and `weights` (a file).")
    if len(place) != leads or len(set(place)) != leads or not all(0 <= p < network_leads for p in place):
        raise ModelError(
            f"place = {list(place)} does not assign the teacher's {leads} lead(s) to the network's {network_leads}: "
            "give a different position, counted from 0, for each."
        )


def _make(factory: str) -> nn.Module:
    make = _function(factory)
    try:
        network = make()
    except _FOREIGN_ERRORS as error:
        raise ModelError(
            f"The factory {factory!r} failed ({_one_line(error)}). It is called without arguments and must return the "
            "network. Correct it, or provide what it needs."
        ) from error
    if not isinstance(network, nn.Module):
        raise ModelError(
            f"The factory {factory!r} returned {type(network).__name__}, not a torch module. Let it return the network."
        )
    return network


def _function(name: str) -> Callable[[], Any]:
    module, colon, function = name.partition(":")
    installed = {} if colon else {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if not colon and name not in installed:
        raise ModelError(
            f"No installed package offers a backbone {name!r} (entry points {ENTRY_POINTS!r}: "
            f'{", ".join(sorted(installed)) or "none"}). Install it, or write factory = "module:function".'
        )
    try:
        found = getattr(import_module(module), function) if colon else installed[name].load()
    except _FOREIGN_ERRORS as error:
        raise ModelError(
            f"The factory {name!r} cannot be imported ({_one_line(error)}). Its module must be installed or on "
            "PYTHONPATH, and import without an error."
        ) from error
    if not callable(found):
        raise ModelError(f"The factory {name!r} is not a function. Give one that returns the network.")
    factory: Callable[[], Any] = found
    return factory


def _one_line(error: BaseException) -> str:
    """Type and message of an error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")


def _load(network: nn.Module, path: Path, sha256: str | None) -> None:
    tensors = read_tensors(path)
    if sha256 is not None and hashlib.sha256(path.read_bytes()).hexdigest() != sha256.lower():
        raise ModelError(
            f"Backbone weights {path} do not have the sha256 of the configuration. Give the file it was made with."
        )
    check_state(path, network.state_dict(), tensors)
    network.load_state_dict(tensors)


def _width(network: nn.Module, leads: int, spec: BackboneSpec) -> int:
    """Width of the features that the network returns, found by running it on zeros."""
    try:
        with torch.no_grad():
            features = network(torch.zeros(2, leads, spec.length))
    except _FOREIGN_ERRORS as error:
        raise ModelError(
            f"The network of {spec.factory!r} does not accept (batch, {leads}, {spec.length}) samples "
            f"({_one_line(error)}). Set length and leads of this backbone to what it accepts."
        ) from error
    if not isinstance(features, Tensor) or features.dim() not in (2, 3) or len(features) != 2:
        raise ModelError(f"The network of {spec.factory!r} must return (batch, width) or (batch, tokens, width).")
    return features.shape[-1]
