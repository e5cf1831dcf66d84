"""A pretrained network of somebody else's as a backbone: frozen, from a local safetensors file; see
docs/pretrained-backbones.md.

Its weights are no part of the teacher: they are neither trained nor saved with it, only read again from their file.
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

_OF_OTHERS = (Exception, SystemExit)  # somebody else's code may end in either; the program is not ended by it


class PretrainedBackbone(nn.Module):
    """A frozen network and the projection that learns: (b, leads, length) to (b, d)."""

    def __init__(self, spec: BackboneSpec, d: int, leads: int) -> None:
        super().__init__()
        self.place, self.leads = spec.place or tuple(range(leads)), spec.leads or leads
        _check(spec, self.place, self.leads, leads)
        network = _made(str(spec.factory))
        path = Path(str(spec.weights)).expanduser()
        _load(network, path, spec.sha256)
        network.eval().requires_grad_(requires_grad=False)
        # Out of the module tree: no parameter, no state, no train(); only moves between devices reach it.
        self._network = (network,)
        self.project = nn.Linear(_width(network, self.leads, spec), d)

    @property
    def network(self) -> nn.Module:
        """The frozen network, in evaluation mode for good."""
        return self._network[0]

    def forward(self, x: Tensor) -> Tensor:
        """As the class says. Tokens (b, tokens, width) are averaged."""
        given = x
        if self.leads != x.shape[1] or self.place != tuple(range(self.leads)):
            given = x.new_zeros(len(x), self.leads, x.shape[2])
            given[:, list(self.place)] = x
        with torch.no_grad():
            features = self.network(given)
            features = features.mean(1) if features.dim() == 3 else features
        return torch.as_tensor(self.project(features))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PretrainedBackbone:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.network._apply(fn)  # type: ignore[no-untyped-call]
        return self


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file of any maker.

    Raises:
        ModelError: it is absent or no safetensors file.
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
            "that of a pretrained backbone may also lie beside the teacher's file."
        ) from error
    return tensors


def check_state(path: Path, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are not exactly those of a network, naming what differs.

    Raises:
        ModelError: a tensor is missing, unknown or of another shape.
    """
    faults = [f"{name} is missing" for name in sorted(expected.keys() - found.keys())]
    faults += [f"{name} is not known to the network" for name in sorted(found.keys() - expected.keys())]
    faults += [
        f"{name} has shape {tuple(found[name].shape)} where the network has {tuple(expected[name].shape)}"
        for name in sorted(expected.keys() & found.keys())
        if expected[name].shape != found[name].shape
    ]
    if faults:
        raise ModelError(
            f"Backbone weights {path} do not fit the network ({len(faults)} of its tensors): {'; '.join(faults[:3])}."
        )


def _check(spec: BackboneSpec, place: tuple[int, ...], network_leads: int, leads: int) -> None:
    if spec.factory is None or spec.weights is None:
        raise ModelError("A pretrained backbone needs `factory` (what makes the network) and `weights` (a file).")
    if len(place) != leads or len(set(place)) != leads or not all(0 <= p < network_leads for p in place):
        raise ModelError(
            f"place = {list(place)} does not put the teacher's {leads} lead(s) among the network's {network_leads}: "
            "name one different position, counted from 0, for each."
        )


def _made(factory: str) -> nn.Module:
    make = _function(factory)
    try:
        network = make()
    except _OF_OTHERS as error:
        raise ModelError(
            f"The factory {factory!r} failed ({_told(error)}). It is called without arguments and returns the "
            "network: correct it, or give it what it needs."
        ) from error
    if not isinstance(network, nn.Module):
        raise ModelError(
            f"The factory {factory!r} gave a {type(network).__name__} and no torch module. Let it return the network."
        )
    return network


def _function(name: str) -> Callable[[], Any]:
    module, colon, function = name.partition(":")
    offered = {} if colon else {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if not colon and name not in offered:
        raise ModelError(
            f"No installed package offers a backbone {name!r} (entry points {ENTRY_POINTS!r}: "
            f'{", ".join(sorted(offered)) or "none"}). Install it, or write factory = "module:function".'
        )
    try:
        found = getattr(import_module(module), function) if colon else offered[name].load()
    except _OF_OTHERS as error:
        raise ModelError(
            f"The factory {name!r} cannot be imported ({_told(error)}). Its module must be installed or on "
            "PYTHONPATH, and import without an error."
        ) from error
    if not callable(found):
        raise ModelError(f"The factory {name!r} is no function. Name one that returns the network.")
    made: Callable[[], Any] = found
    return made


def _told(error: BaseException) -> str:
    """Type and message of an error of somebody else's code, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")


def _load(network: nn.Module, path: Path, sha256: str | None) -> None:
    tensors = read_tensors(path)
    if sha256 is not None and hashlib.sha256(path.read_bytes()).hexdigest() != sha256.lower():
        raise ModelError(f"Backbone weights {path} are not the file whose sha256 the configuration names.")
    check_state(path, network.state_dict(), tensors)
    network.load_state_dict(tensors)


def _width(network: nn.Module, leads: int, spec: BackboneSpec) -> int:
    try:
        with torch.no_grad():
            features = network(torch.zeros(2, leads, spec.length))
    except _OF_OTHERS as error:
        raise ModelError(
            f"The network of {spec.factory!r} does not take (batch, {leads}, {spec.length}) samples ({_told(error)}). "
            "Set length and leads of this backbone to what it takes."
        ) from error
    if not isinstance(features, Tensor) or features.dim() not in (2, 3) or len(features) != 2:
        raise ModelError(f"The network of {spec.factory!r} must give (batch, width) or (batch, tokens, width).")
    return features.shape[-1]
