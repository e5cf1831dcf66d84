"""Quantization-aware training (QAT) of a student.

All pieces of the student are prepared by PyTorch 2 Export (PT2E) quantization and trained jointly. Each boundary tensor
between two pieces has one scale.
"""

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
from ecgmoe_edge.model.shared_layers import Route
from ecgmoe_edge.model.student import Student, StudentConfig, outputs_of_each, run_student
from ecgmoe_edge.model.weights_file import (
    read_configuration,
    read_metadata,
    read_weights,
    refuse_damaged,
    refuse_unlike,
    write_weights,
)

_FORMAT = "ecgmoe-edge qat 2"
_MAX_BATCH = 1 << 20
#: Smallest range (+-) of each input, in the order of `INPUTS`: 3 R amplitudes for the beat (wide beats reach that), and
#: the clipping limits of the contract for the features and the RR sequence.
INPUT_RANGE = (3.0, LIMITS[FEATURES], LIMITS[RR_SEQUENCE])


@dataclass(frozen=True)
class QatSettings:
    """How a student is quantized."""

    tasks: tuple[str, ...] = ("beat", "rhythm")
    symmetric: bool = False  # activations have zero point 0, as TensorRT requires
    averaging: float = 0.01  # weight of a new batch in the moving average of an activation's range


class QatStudent(nn.Module):
    """A student with fake quantization: its forward pass rounds as the int8 kernels do.

    In training mode, the activation ranges follow the data, and the hard route uses a straight-through gradient so that
    the routers continue to learn. In evaluation mode, the ranges are fixed and one expert per path runs. `convert`
    returns the int8 student.
    """

    def __init__(self, student: Student, settings: QatSettings | None = None, *, merged: Pieces | None = None) -> None:
        """Insert fake quantization into a student.

        Args:
            student: a trained float student; it is not changed.
            settings: None takes the default settings.
            merged: float pieces for the tasks of the settings; None merges those of `student`.
        """
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

    def each_expert(
        self, beat: Tensor, features: Tensor, rr_sequence: Tensor, route: Route = "hard"
    ) -> list[dict[str, Tensor]]:
        """Outputs with each morphology expert alone, in the order of the bank; see `outputs_of_each`."""
        return outputs_of_each(self.pieces, beat, features, rr_sequence, route, training=self.training)

    def train(self, mode: bool = True) -> QatStudent:
        """Switch to training mode (ranges follow the data unless frozen) or to evaluation mode.

        The exported graphs have no modes of their own.
        """
        self.training = mode
        self._observe(mode and not bool(self.frozen))
        return self

    def to_train(self) -> QatStudent:
        """Do the same as `train()`."""
        return self.train()

    def to_eval(self) -> QatStudent:
        """Do the same as `eval()`."""
        return self.train(False)

    def freeze_observers(self) -> None:
        """Fix all activation ranges from now on, also in training mode: the last epochs train on fixed scales."""
        self.frozen.fill_(True)
        self._observe(False)

    def _observe(self, on: bool) -> None:
        self.pieces.apply(pt2e.enable_observer if on else pt2e.disable_observer)

    def calibrate(self, batches: Iterable[tuple[Tensor, Tensor, Tensor]]) -> None:
        """Set all activation ranges to the mean range of the batches, for weights that were not trained with QAT.

        The first batch runs through all experts, so that each expert has a range. The other batches run only through
        the experts that the routers choose, so that the range of an expert comes from the beats that it processes.

        Args:
            batches: (beat, features, rr_sequence) of ten to a few hundred beats each.

        Raises:
            ModelError: `batches` is empty.
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
            raise ModelError("Calibration needs at least one batch of beats; give a recording that contains beats.")
        self._widen_inputs()

    def _widen_inputs(self) -> None:
        """Widen the input ranges to at least `INPUT_RANGE`: a few recordings do not cover the range of all others."""
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

    def snap_biases(self) -> None:
        """Recompute all scales, and round every bias to a multiple of (input scale x weight scale), as all runtimes do.

        After that, PyTorch adds the same bias as the integer kernels. Without it, about one output in a hundred is
        rounded to another integer.
        """
        with torch.no_grad():
            for module in self.pieces.modules():
                if isinstance(module, pt2e.FakeQuantizeBase):
                    _refresh(module)
            for _, piece in self.pieces.named():
                for node in piece.graph.nodes:  # type: ignore[union-attr]
                    if node.target in WEIGHTED:
                        _snap_bias(piece, node)

    def float_pieces(self) -> Pieces:
        """Copy the current weights into float pieces without fake quantization."""
        pieces = merge_student(Student(replace(self.config, tasks=self.tasks)))
        trained = dict(self.pieces.named())
        with torch.no_grad():
            for name, piece in pieces.named():
                for leaf, parameter in piece.named_parameters():
                    parameter.copy_(trained[name].get_parameter(leaf))
        return pieces

    def convert(self) -> IntegerStudent:
        """Convert to an int8 student. This QAT student is not changed.

        Raises:
            ModelError: an activation has no range yet.
        """
        for name, module in self.pieces.named_modules():
            if isinstance(module, pt2e.MovingAverageMinMaxObserver) and not bool(module.min_val.isfinite().all()):
                raise ModelError(f"{name} has no range yet. Train or calibrate the QAT student before you convert it.")
        snapped = copy.deepcopy(self)
        snapped.snap_biases()
        folded = _map(copy.deepcopy(snapped.pieces), convert_pt2e)
        unfolded = _map(snapped.pieces, lambda piece: convert_pt2e(piece, fold_quantize=False))
        return IntegerStudent(folded, unfolded, self.config, self.settings)


class IntegerStudent(nn.Module):
    """An int8 student. It holds its pieces in two forms with equal outputs, one for each converter."""

    def __init__(self, folded: Pieces, unfolded: Pieces, config: StudentConfig, settings: QatSettings) -> None:
        super().__init__()
        self.folded = folded  # for ONNX: int8 weights, each followed by a dequantize operator
        self.unfolded = unfolded  # for LiteRT: float weights, each followed by quantize and dequantize operators
        self.config, self.settings, self.tasks = config, settings, settings.tasks

    def forward(self, beat: Tensor, features: Tensor, rr_sequence: Tensor) -> dict[str, Tensor]:
        """Run the int8 pieces with static top-1 dispatch; shapes and names are those of `Student.forward`."""
        outputs: dict[str, Tensor] = self.folded(beat, features, rr_sequence)
        return outputs


def _map(pieces: Pieces, change: Any) -> Pieces:
    changed = {name: change(piece) for name, piece in pieces.named()}
    return Pieces.from_named(changed, pieces.tasks)


def example_inputs(rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return zeros in the shapes of a student's inputs: beat, features and RR sequence, `rows` of each."""
    beat, features, rr_sequence = (torch.zeros(rows, *SHAPES[name]) for name in INPUTS)
    return beat, features, rr_sequence


def piece_inputs(pieces: Pieces, rows: int) -> dict[str, tuple[Tensor, ...]]:
    """Return example inputs of each piece, by the piece's name.

    Each input is a separate tensor, because torch.export silently merges inputs that are the same tensor.
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
    """Insert fake quantizers into every piece, and share one fake quantizer for each boundary tensor."""
    examples = piece_inputs(merged, rows=4)
    batch = torch.export.Dim("batch", min=1, max=_MAX_BATCH)
    prepared = {}
    for name, piece in merged.named():
        arguments = examples[name]
        shapes: tuple[Any, ...] = tuple({0: batch} for _ in arguments)
        if name == "tail":  # `Tail.forward` takes the gates as *gates, one tuple of shapes
            shapes = (*shapes[:2], shapes[2:])
        exported = torch.export.export(piece, arguments, dynamic_shapes=shapes)
        prepared[name] = prepare_qat_pt2e(exported.module(check_guards=False), quantizer)
    pieces = Pieces.from_named(prepared, merged.tasks)
    _share_boundary_quantizers(pieces)
    return pieces


def _share_boundary_quantizers(pieces: Pieces) -> None:
    """Use the same fake quantizer on both sides of each boundary tensor."""
    boundaries = [name for name in pieces.trunk_outputs if name not in ROUTES]  # the router logits stay float
    trunk = dict(zip(boundaries, _fake_quantizers(pieces.trunk, "output"), strict=True))
    tail = dict(zip(pieces.tail_inputs, _fake_quantizers(pieces.tail, "placeholder"), strict=True))
    # The tail concatenates the outputs of both paths, so both need the same scale.
    (y,) = _fake_quantizers(pieces.morphology[0], "output")
    for path, experts in pieces.banks().items():
        for expert in experts:
            _replace(expert, _fake_quantizers(expert, "placeholder")[0], trunk[f"z_{path}"])
            _replace(expert, _fake_quantizers(expert, "output")[0], y)
        _replace(pieces.tail, tail[f"y_{path}"], y)
    for gate in pieces.gates:
        _replace(pieces.tail, tail[gate], trunk[gate])


def _fake_quantizers(piece: nn.Module, end: str) -> list[nn.Module]:
    """Return the fake quantizers at the inputs or at the int8 outputs of a prepared piece, in order.

    Args:
        piece: a piece that PT2E has prepared.
        end: "placeholder" for the inputs, "output" for the outputs.
    """
    if not isinstance(piece, GraphModule):
        raise ModelError("Only pieces that PT2E has prepared have fake quantizers at their inputs and outputs.")
    if end == "output":
        (output,) = (node for node in piece.graph.nodes if node.op == "output")
        ends = output.args[0] if isinstance(output.args[0], (tuple, list)) else [output.args[0]]
        nodes = [node for node in ends if node.op == "call_module"]
    else:
        placeholders = [node for node in piece.graph.nodes if node.op == "placeholder"]
        nodes = [next(user for user in node.users if user.op == "call_module") for node in placeholders]
    return [piece.get_submodule(str(node.target)) for node in nodes]


def _refresh(fake_quantizer: nn.Module) -> None:
    """Compute scale and zero point from the observed range, as the conversion does."""
    observer = fake_quantizer.get_submodule("activation_post_process")
    if isinstance(observer, pt2e.MovingAverageMinMaxObserver) and observer.min_val.numel():
        scale, zero_point = observer.calculate_qparams()
        fake_quantizer.get_buffer("scale").copy_(scale)
        fake_quantizer.get_buffer("zero_point").copy_(zero_point)


def _snap_bias(piece: nn.Module, node: Any) -> None:
    """Refresh the weight scale of one layer and round its bias; a layer without a fake quantizer stays in float."""
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
    bias_values = piece.get_parameter(str(bias.target))
    bias_values.copy_((bias_values / step).round() * step)


def _replace(piece: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Replace `old` by `new` under every name: PT2E can register a shared fake quantizer under several names."""
    for name, module in list(piece.named_modules(remove_duplicate=False)):
        if module is old:
            owner, _, leaf = name.rpartition(".")
            setattr(piece.get_submodule(owner), leaf, new)


def save_qat(path: Path | str, qat: QatStudent, metadata: Mapping[str, str] | None = None) -> None:
    """Snap the biases of a QAT student and write it (tensors, configuration and settings) as one safetensors file."""
    qat.snap_biases()
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
