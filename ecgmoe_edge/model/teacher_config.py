"""Configuration of the teacher. It is apart from `teacher.py`: processes that make examples do not import torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ecgmoe_edge.errors import ModelError
from ecgmoe_edge.tasks import TASK_NAMES

# Upper limits: about a hundred times the usual sizes, but small enough that the header of a file cannot request all
# memory.
Size = Annotated[int, Meta(ge=1, le=2048)]
Length = Annotated[int, Meta(ge=1, le=100_000)]
Positive = Annotated[float, Meta(gt=0, le=1e6)]
Experts = Annotated[int, Meta(ge=1, le=64)]
Kernel = Annotated[int, Meta(ge=1, le=1023)]
Lead = Annotated[int, Meta(ge=0, le=1023)]
Text = Annotated[str, Meta(min_length=1, max_length=4096)]

#: Group of the entry points under which an installed package may offer factories of backbones.
ENTRY_POINTS = "ecgmoe_edge.backbones"


class BackboneSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One backbone: its registered kind, the length to which the context is downsampled, and its initial weights.

    The keys from `factory` on are only for the kind "pretrained"; see `model.pretrained_backbone`.
    """

    kind: str
    length: Length  # number of samples of the downsampled context
    width: Size = 16  # channels (conv_residual, timesnet) or model width (patch_transformer); dlinear ignores it
    weights: Text | None = None  # safetensors file with the state of this backbone; None: random initial weights
    factory: Text | None = None  # "module:function" or the name of an entry point; returns the network
    rate_hz: Positive | None = None  # sampling rate of the network's input; None: the 10 s are squeezed into `length`
    place: tuple[Lead, ...] = ()  # positions of the teacher's leads among those of the network; (): the same positions
    leads: Size | None = None  # number of leads of the network, unused ones are zero; None: as many as the teacher
    sha256: str | None = None  # digest of the weights file; a file with another digest is refused


class TeacherConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sizes of the teacher, and switches that leave out a part (for ablation). See docs/training.md."""

    backbones: Annotated[tuple[BackboneSpec, ...], Meta(max_length=32)] = (
        BackboneSpec("conv_residual", length=640, width=16),
        BackboneSpec("patch_transformer", length=480, width=48),
        BackboneSpec("dlinear", length=320),
        BackboneSpec("timesnet", length=256, width=8),
    )
    tasks: tuple[str, ...] = TASK_NAMES
    leads: Annotated[int, Meta(ge=1, le=12)] = 1  # leads of the context; the beat and its features are from the first
    d: Size = 48  # width of backbone tokens and period embeddings
    heads: Size = 4  # attention heads
    stem: Size = 16  # channels of the morphology stem
    rhythm_width: Annotated[int, Meta(ge=2, le=2048)] = 64  # width of the rhythm stem's feature layer
    morphology_kernels: Annotated[tuple[Kernel, ...], Meta(max_length=64)] = (3, 5, 7, 9)  # one per expert
    rhythm_experts: Experts = 4
    top_k: Experts = 1
    routing: Literal["chosen", "straight_through", "annealed"] = "chosen"  # how routers learn; see `shared_layers`
    anneal_steps: Annotated[int, Meta(ge=1, le=10**9)] = 600  # for "annealed": batches until the routing is hard
    lora_rank: Annotated[int, Meta(ge=0, le=1024)] = 8  # 0: no adapters, all tasks share one fusion block
    lora_alpha: Positive = 32.0
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.2
    gate: bool = True  # False: all backbones have the same weight
    morphology_path: bool = True
    rhythm_path: bool = True  # False: the waveform separates S from N, because nothing else can
    rr_prior: bool = True  # False: the RR head learns the interval from the embeddings alone

    @property
    def n_periods(self) -> int:
        """Number of period embeddings: one for each path."""
        return self.morphology_path + self.rhythm_path

    def check(self) -> None:
        """Check what the types cannot say: how the sizes fit together.

        Raises:
            ModelError: no teacher can be built from these sizes.
        """
        if not 1 <= self.leads <= 12:
            raise ModelError(f"A teacher has 1 to 12 leads, not {self.leads}.")
        if not self.morphology_path and not self.rhythm_path:
            raise ModelError("The teacher needs the morphology path, the rhythm path or both; both are switched off.")
        if self.d % self.heads:
            raise ModelError(f"The teacher's width d = {self.d} does not divide into {self.heads} heads.")
        if not self.morphology_kernels or any(k < 1 or k % 2 == 0 for k in self.morphology_kernels):
            raise ModelError("morphology_kernels needs at least one expert, each with an odd kernel length.")
        for bank, n in (("morphology", len(self.morphology_kernels)), ("rhythm", self.rhythm_experts)):
            if not 1 <= self.top_k <= n:
                raise ModelError(f"top_k = {self.top_k} does not fit the {n} experts of the {bank} bank.")


def refuse_code(specs: Iterable[BackboneSpec], where: str) -> None:
    """Refuse backbones that would run code which the file itself names.

    Any file may name the entry point of an installed package: the user chose that package by installing it.

    Args:
        specs: the backbones that the file describes.
        where: the file, for the message.

    Raises:
        ModelError: a factory is given as `module:function`.
    """
    named = [spec.factory for spec in specs if spec.factory is not None and ":" in spec.factory]
    if named:
        raise ModelError(
            f"{where} names code to be run, {named[0]!r}, which was not run. If you trust the maker of the file to run "
            f"code on this machine, give --trust-code; or install the backbone as an entry point of the group "
            f"{ENTRY_POINTS}."
        )
