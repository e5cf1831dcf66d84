"""Quantization-aware training of a student: PT2E pieces trained jointly, one scale wherever two of them meet."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torchao.quantization.pt2e as pt2e
from torch import Tensor, nn
from torch.fx import GraphModule
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_qat_pt2e

from ecgmoe_edge.compress.dispatch import Pieces
from ecgmoe_edge.compress.merge import merge_student
from ecgmoe_edge.compress.quantizer import WEIGHTED, EdgeQuantizer
from ecgmoe_edge.contract import FEATURES, INPUTS, LIMITS, ROUTES, RR_SEQUENCE, SHAPES
from ecgmoe_edge.errors import ModelError
from ecgmoe_edge.model.routing import Route
from ecgmoe_edge.model.student import (
    Student,
    StudentConfig,
    run_student,
)
from ecgmoe_edge.model.weights_file import (
    read_configuration,
    read_metadata,
    read_weights,
    refuse_damaged,
    refuse_unlike,
    write_weights,
)

_FORMAT = "ecgmoe-edge qat 1"
_MAX_BATCH = 1 << 20
#: Least range of each input, in the order of `INPUTS`: wide beats reach 3 R amplitudes, the others their limits.
INPUT_RANGE = (3.0, LIMITS[FEATURES], LIMITS[RR_SEQUENCE])


@dataclass(frozen=True)
class QatSettings:
    """How a student is quantized."""

    tasks: tuple[str, ...] = ("beat", "rhythm")
    symmetric: bool = False  # activations without zero points, for TensorRT-class runtimes
    averaging: float = 0.01  # weight of a new batch in the running range of an activation


class QatStudent(nn.Module):
    """A student whose forward pass rounds as the int8 kernels will; `forward` is `Student.forward`.

    While training, ranges follow the data and the hard route is straight-through, so that the routers keep
    learning; in eval mode ranges stand still and one expert a path runs. `state_dict` holds every tensor
    once, ready for safetensors; `convert` gives the integer student.
    """

    def __init__(self, student: Student, settings: QatSettings | None = None, *, merged: Pieces | None = None) -> None:
        """`merged`: float pieces to begin with, for the tasks of the settings; None merges those of the student."""
        super().__init__()
        self.settings = settings = QatSettings() if settings is None else settings
        self.config = student.config
        self.tasks = settings.tasks
        merged = merge_student(student, settings.tasks) if merged is None else merged
        self.pieces = _prepare(merged, EdgeQuantizer(settings.symmetric, settings.averaging))
        self.frozen: Tensor
        self.register_buffer("frozen", torch.tensor(False))
        self.train()

    def forward(self, beat: Tensor, features: Tensor, rr_sequence: Tensor, route: Route = "hard") -> dict[str, Tensor]:
        """Logits of each task and router; see `Student.forward`."""
        return run_student(self.pieces, beat, features, rr_sequence, route, training=self.training)

    def train(self, mode: bool = True) -> QatStudent:
        """Training (ranges follow the data, unless frozen) or eval mode. The graphs themselves have no modes."""
        self.training = mode
        self._observe(mode and not bool(self.frozen))
        return self

    def to_train(self) -> QatStudent:
        """`train()`."""
        return self.train()

    def to_eval(self) -> QatStudent:
        """`eval()`."""
        return self.train(False)

    def freeze_observers(self) -> None:
        """Hold all activation ranges from here on, in training too: the last epochs settle on a fixed grid."""
        self.frozen.fill_(True)
        self._observe(False)

    def _observe(self, on: bool) -> None:
        self.pieces.apply(pt2e.enable_observer if on else pt2e.disable_observer)

    def calibrate(self, batches: Iterable[tuple[Tensor, Tensor, Tensor]]) -> None:
        """Set all ranges from data alone: the mean of the batches' ranges. For weights that had no QAT.

        The first batch runs through every expert, so that none is left without a range; the others through
        the experts that their beats choose, so that no range grows by beats that an expert never sees.

        Args:
            batches: (beat, features, rr_sequence) each, of some ten to a few hundred beats.

        Raises:
            ModelError: there is no batch.
        """
        count = 0
        self._observe(True)
        with torch.no_grad():
            for beat, features, rr_sequence in batches:
                count += 1
                self._set_averaging(1.0 / count)
                run_student(self.pieces, beat, features, rr_sequence, "hard", training=count == 1)
        self._set_averaging(self.settings.averaging)
        self.train(self.training)
        if not count:
            raise ModelError("Calibration needs at least one batch of beats; give a recording that has some.")
        self._widen_inputs()

    def _widen_inputs(self) -> None:
        """Give the inputs at least their usual range, since a few recordings do not show what others hold."""
        for fake_quantizer, limit in zip(_fake_quantizers(self.pieces.trunk, "placeholder"), INPUT_RANGE, strict=True):
            observer = fake_quantizer.get_submodule("activation_post_process")
            for bound, least in ((observer.get_buffer("min_val"), -limit), (observer.get_buffer("max_val"), limit)):
                bound.copy_(min(bound, torch.tensor(least)) if least < 0 else max(bound, torch.tensor(least)))
            _refresh(fake_quantizer)

    def _set_averaging(self, constant: float) -> None:
        for module in self.pieces.modules():
            if isinstance(module, pt2e.MovingAverageMinMaxObserver):
                module.averaging_constant = constant

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Every tensor once: a range that several pieces share is held under its first name."""
        state = super().state_dict(*args, **kwargs)
        first = self._first_names()
        prefix = kwargs.get("prefix", "")
        return {name: tensor for name, tensor in state.items() if first[name.removeprefix(prefix)] == name}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Take up a state that `state_dict` gave.

        Raises:
            ModelError: tensors are missing or unknown.
        """
        first = self._first_names()
        known = set(first.values())
        if strict and known != set(state_dict):
            wrong = sorted(known ^ set(state_dict))
            raise ModelError(
                f"This QAT state does not fit the student: {', '.join(wrong[:3])} ({len(wrong)} in all) unknown or "
                "missing. It belongs to another width, other tasks or another version of torch."
            )
        full = {name: state_dict[source] for name, source in first.items() if source in state_dict}
        try:
            result = super().load_state_dict(full, strict=strict, assign=assign)
        except RuntimeError as error:
            raise ModelError(f"This QAT state does not fit the student: {error}") from error
        self.train(self.training)
        return result

    def _first_names(self) -> dict[str, str]:
        """For every entry of the full state, the name under which its tensor comes first."""
        first: dict[int | str, str] = {}
        names = {}
        for name, tensor in super().state_dict().items():
            place = tensor.data_ptr() if tensor.numel() else name  # an empty tensor has no place of its own
            names[name] = first.setdefault(place, name)
        return names

    def settle(self) -> None:
        """Put every bias on the grid of the sums that it is added to, as each runtime does, and refresh all scales.

        From then on PyTorch adds what the integer kernels add: without it, one output in some hundred rounds otherwise.
        """
        with torch.no_grad():
            for module in self.pieces.modules():
                if isinstance(module, pt2e.FakeQuantizeBase):
                    _refresh(module)
            for _, piece in self.pieces.named():
                for node in piece.graph.nodes:  # type: ignore[union-attr]
                    if node.target in WEIGHTED:
                        _settle(piece, node)

    def float_pieces(self) -> Pieces:
        """The weights as they are now, in float pieces without any rounding."""
        pieces = merge_student(Student(replace(self.config, tasks=self.tasks)))
        trained = dict(self.pieces.named())
        with torch.no_grad():
            for name, piece in pieces.named():
                for leaf, parameter in piece.named_parameters():
                    parameter.copy_(trained[name].get_parameter(leaf))
        return pieces

    def convert(self) -> IntegerStudent:
        """The integer student; this one stays as it is.

        Raises:
            ModelError: no data has set the ranges yet.
        """
        for name, module in self.pieces.named_modules():
            if isinstance(module, pt2e.MovingAverageMinMaxObserver) and not bool(module.min_val.isfinite().all()):
                raise ModelError(f"{name} has seen no data. Train the QAT student or calibrate it before converting.")
        settled = copy.deepcopy(self)
        settled.settle()
        folded = _map(copy.deepcopy(settled.pieces), convert_pt2e)
        unfolded = _map(settled.pieces, lambda piece: convert_pt2e(piece, fold_quantize=False))
        return IntegerStudent(folded, unfolded, self.config, self.settings)


class IntegerStudent(nn.Module):
    """A student in int8: the same pieces twice, as the two converters want them, with equal outputs."""

    def __init__(self, folded: Pieces, unfolded: Pieces, config: StudentConfig, settings: QatSettings) -> None:
        super().__init__()
        self.folded = folded  # int8 weights and DequantizeLinear: for ONNX
        self.unfolded = unfolded  # float weights behind quantize and dequantize: for LiteRT
        self.config, self.settings, self.tasks = config, settings, settings.tasks

    def forward(self, beat: Tensor, features: Tensor, rr_sequence: Tensor) -> dict[str, Tensor]:
        """Static top-1 dispatch over integer pieces; shapes and names are those of `Student.forward`."""
        outputs: dict[str, Tensor] = self.folded(beat, features, rr_sequence)
        return outputs


def _map(pieces: Pieces, change: Any) -> Pieces:
    changed = {name: change(piece) for name, piece in pieces.named()}
    return Pieces.from_named(changed, pieces.tasks)


def example_inputs(rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """Zeros in the shapes of a student's inputs, each a tensor of its own."""
    beat, features, rr_sequence = (torch.zeros(rows, *SHAPES[name]) for name in INPUTS)
    return beat, features, rr_sequence


def piece_inputs(pieces: Pieces, rows: int) -> dict[str, tuple[Tensor, ...]]:
    """Inputs of every piece in the right shapes, by the piece's name; no tensor appears twice.

    (torch.export silently ties inputs that are the same tensor.)
    """
    inputs = example_inputs(rows)
    with torch.no_grad():
        z_morphology, z_rhythm, _, _, *gates = pieces.trunk(*inputs)
        y_morphology, y_rhythm = pieces.morphology[0](z_morphology), pieces.rhythm[0](z_rhythm)
    examples: dict[str, tuple[Tensor, ...]] = {"trunk": inputs, "tail": (y_morphology, y_rhythm, *gates)}
    for path, z in (("morphology", z_morphology), ("rhythm", z_rhythm)):
        examples.update({f"{path}_{index}": (z,) for index in range(len(pieces.banks()[path]))})
    return {name: tuple(tensor.clone() for tensor in tensors) for name, tensors in examples.items()}


def _prepare(merged: Pieces, quantizer: EdgeQuantizer) -> Pieces:
    """Insert fake quantization into every piece, and make the pieces share it at their seams."""
    examples = piece_inputs(merged, rows=4)
    batch = torch.export.Dim("batch", min=1, max=_MAX_BATCH)
    prepared = {}
    for name, piece in merged.named():
        arguments = examples[name]
        shapes: tuple[Any, ...] = tuple({0: batch} for _ in arguments)
        if name == "tail":  # its forward takes the gates as *gates
            shapes = (*shapes[:2], shapes[2:])
        exported = torch.export.export(piece, arguments, dynamic_shapes=shapes)
        prepared[name] = prepare_qat_pt2e(exported.module(check_guards=False), quantizer)
    pieces = Pieces.from_named(prepared, merged.tasks)
    _share_seams(pieces)
    return pieces


def _share_seams(pieces: Pieces) -> None:
    """One fake quantizer for each vector that passes from piece to piece."""
    seams = [name for name in pieces.trunk_outputs if name not in ROUTES]  # the routers' logits stay float
    trunk = dict(zip(seams, _fake_quantizers(pieces.trunk, "output"), strict=True))
    tail = dict(zip(pieces.tail_inputs, _fake_quantizers(pieces.tail, "placeholder"), strict=True))
    (y,) = _fake_quantizers(pieces.morphology[0], "output")  # the tail stacks both paths: one scale for both
    for path, experts in pieces.banks().items():
        for expert in experts:
            _replace(expert, _fake_quantizers(expert, "placeholder")[0], trunk[f"z_{path}"])
            _replace(expert, _fake_quantizers(expert, "output")[0], y)
        _replace(pieces.tail, tail[f"y_{path}"], y)
    for gate in pieces.gates:
        _replace(pieces.tail, tail[gate], trunk[gate])


def _fake_quantizers(piece: nn.Module, end: str) -> list[nn.Module]:
    """The fake quantizers at the inputs ("placeholder") or integer outputs ("output") of a prepared piece, in order."""
    if not isinstance(piece, GraphModule):
        raise ModelError("Only pieces that PT2E has prepared have fake quantizers at their seams.")
    if end == "output":
        (output,) = (node for node in piece.graph.nodes if node.op == "output")
        ends = output.args[0] if isinstance(output.args[0], (tuple, list)) else [output.args[0]]
        nodes = [node for node in ends if node.op == "call_module"]
    else:
        placeholders = [node for node in piece.graph.nodes if node.op == "placeholder"]
        nodes = [next(user for user in node.users if user.op == "call_module") for node in placeholders]
    return [piece.get_submodule(str(node.target)) for node in nodes]


def _refresh(fake_quantizer: nn.Module) -> None:
    """Scale and zero point from the range that was seen, computed as for the converted graph."""
    observer = fake_quantizer.get_submodule("activation_post_process")
    if isinstance(observer, pt2e.MovingAverageMinMaxObserver) and observer.min_val.numel():
        scale, zero_point = observer.calculate_qparams()
        fake_quantizer.get_buffer("scale").copy_(scale)
        fake_quantizer.get_buffer("zero_point").copy_(zero_point)


def _settle(piece: nn.Module, node: Any) -> None:
    """Weight range and bias of one layer; a layer that stays float has no fake quantizer before its weight."""
    x, weight, bias = node.args[:3]
    if weight.op != "call_module":
        return
    of_weight, of_input = piece.get_submodule(str(weight.target)), piece.get_submodule(str(x.target))
    observing = of_weight.get_buffer("observer_enabled").clone()
    of_weight.apply(pt2e.enable_observer)
    of_weight(piece.get_parameter(str(weight.args[0].target)))
    of_weight.get_buffer("observer_enabled").copy_(observing)
    _refresh(of_weight)
    step = of_weight.get_buffer("scale") * of_input.get_buffer("scale")
    held = piece.get_parameter(str(bias.target))
    held.copy_((held / step).round() * step)


def _replace(piece: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put `new` wherever a piece holds `old`; PT2E may hold a shared fake quantizer under several names."""
    for name, module in list(piece.named_modules(remove_duplicate=False)):
        if module is old:
            owner, _, leaf = name.rpartition(".")
            setattr(piece.get_submodule(owner), leaf, new)


def save_qat(path: Path | str, qat: QatStudent, metadata: Mapping[str, str] | None = None) -> None:
    """Settle a QAT student and write it (tensors, configuration and settings) as one safetensors file."""
    qat.settle()
    own = {**(metadata or {}), "torch": torch.__version__}
    write_weights(path, qat.state_dict(), _FORMAT, {"config": qat.config, "settings": qat.settings}, own)


def is_qat_file(path: Path | str) -> bool:
    """Whether a safetensors file is one of `save_qat`.

    Raises:
        ModelError: the file cannot be read as safetensors.
    """
    return read_metadata(path).get("format") == _FORMAT


def load_qat(path: Path | str) -> QatStudent:
    """The QAT student of a file that `save_qat` wrote, in eval mode.

    Raises:
        ModelError: the file is no QAT student, or a configuration or a tensor does not fit.
    """
    tensors, metadata = read_weights(path, _FORMAT)
    config = read_configuration(StudentConfig, metadata, "config", path)
    settings = read_configuration(QatSettings, metadata, "settings", path)
    if (asked := sum(p.numel() for p in _without_memory(config).parameters())) > sum(
        t.numel() for t in tensors.values()
    ):
        raise ModelError(f"{path} is to have {asked:,} parameters, and has fewer. It was changed or cut.")
    refuse_damaged(tensors, metadata, path)
    try:
        qat = QatStudent(Student(config), settings)
        refuse_unlike(dict.fromkeys(qat.state_dict()), dict.fromkeys(tensors), path)
        qat.load_state_dict(tensors)
        return qat.to_eval()
    except (RuntimeError, ValueError, TypeError) as error:  # a tensor of another shape, a setting that cannot be
        reason = " ".join(str(error).split())
        raise ModelError(f"{path} does not fit its own configuration ({reason}). It was changed or cut.") from error


def _without_memory(config: StudentConfig) -> Student:
    with torch.device("meta"):
        return Student(config)
