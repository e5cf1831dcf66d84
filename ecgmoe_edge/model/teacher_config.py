"""Sizes of the teacher, apart from its code: a training configuration is read without importing torch."""

from __future__ import annotations

import msgspec

from ecgmoe_edge.model.tasks import TASK_NAMES


class BackboneSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One backbone: its registered kind, the length that it sees the context at, and weights to start from."""

    kind: str
    length: int  # samples of the context after adaptive downsampling
    width: int = 16  # channels (conv_residual), model width (patch_transformer); unused by dlinear
    weights: str | None = None  # a safetensors file with this backbone's state; None: random start


class TeacherConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sizes of the teacher. The defaults train in about half an hour on one processor core."""

    backbones: tuple[BackboneSpec, ...] = (
        BackboneSpec("conv_residual", length=640, width=16),
        BackboneSpec("patch_transformer", length=480, width=48),
        BackboneSpec("dlinear", length=320),
    )
    tasks: tuple[str, ...] = TASK_NAMES
    d: int = 48  # tokens and period embeddings
    heads: int = 4  # of the attention
    stem: int = 16  # channels of the morphology stem
    rhythm_width: int = 64  # of the rhythm stem
    morphology_kernels: tuple[int, ...] = (3, 5, 7, 9)  # one expert each
    rhythm_experts: int = 4
    top_k: int = 1
    lora_rank: int = 8
    lora_alpha: float = 32.0
    dropout: float = 0.2
