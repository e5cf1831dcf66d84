"""Sizes of the teacher, apart from its code: a training configuration is read without importing torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ecgmoe_edge.errors import ModelError
from ecgmoe_edge.tasks import TASK_NAMES

# Upper limits: some hundred times what is usual, and little enough that a file's header cannot ask for all memory.
Size = Annotated[int, Meta(ge=1, le=2048)]
Length = Annotated[int, Meta(ge=1, le=100_000)]
Positive = Annotated[float, Meta(gt=0, le=1e6)]
Experts = Annotated[int, Meta(ge=1, le=64)]
Kernel = Annotated[int, Meta(ge=1, le=1023)]
Lead = Annotated[int, Meta(ge=0, le=1023)]
Text = Annotated[str, Meta(min_length=1, max_length=4096)]

#: Group of the entry points that an installed package may offer factories of backbones under.
ENTRY_POINTS = "ecgmoe_edge.backbones"


class BackboneSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One backbone: its registered kind, the length that it sees the context at, and weights to start from.

    The keys from `factory` on belong to the kind `pretrained` alone; see `model.pretrained_backbone`.
    """

    kind: str
    length: Length  # samples of the context after adaptive downsampling
    width: Size = 16  # channels (conv_residual, timesnet), model width (patch_transformer); unused by dlinear
    weights: Text | None = None  # a safetensors file with this backbone's state; None: random start
    factory: Text | None = None  # "module:function" or the name of an entry point; makes the network
    rate_hz: Positive | None = None  # of the network's input; None: the 10 s are squeezed into `length`
    place: tuple[Lead, ...] = ()  # where the teacher's leads go among the network's; () takes them as they are
    leads: Size | None = None  # of the network; those that nothing is placed in are zero. None: as the teacher has
    sha256: str | None = None  # of the weights file; another file is refused


class TeacherConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sizes of the teacher, and switches that leave a part out (for ablation). See docs/training.md."""

    backbones: Annotated[tuple[BackboneSpec, ...], Meta(max_length=32)] = (
        BackboneSpec("conv_residual", length=640, width=16),
        BackboneSpec("patch_transformer", length=480, width=48),
        BackboneSpec("dlinear", length=320),
        BackboneSpec("timesnet", length=256, width=8),
    )
    tasks: tuple[str, ...] = TASK_NAMES
    leads: Annotated[int, Meta(ge=1, le=12)] = 1  # of the context; the beat and its features are those of the first
    d: Size = 48  # tokens and period embeddings
    heads: Size = 4  # of the attention
    stem: Size = 16  # channels of the morphology stem
    rhythm_width: Annotated[int, Meta(ge=2, le=2048)] = 64  # of the rhythm stem
    morphology_kernels: Annotated[tuple[Kernel, ...], Meta(max_length=64)] = (3, 5, 7, 9)  # one expert each
    rhythm_experts: Experts = 4
    top_k: Experts = 1
    routing: Literal["chosen", "straight_through", "annealed"] = "chosen"  # how routers learn, see `model.routing`
    anneal_steps: Annotated[int, Meta(ge=1, le=10**9)] = 600  # of "annealed": batches until the mixture is nearly hard
    lora_rank: Annotated[int, Meta(ge=0, le=1024)] = 8  # 0: no adapters, all tasks share the fusion block as it is
    lora_alpha: Positive = 32.0
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.2
    gate: bool = True  # False: every backbone counts alike
    morphology_path: bool = True
    rhythm_path: bool = True  # False: the waveform decides S against N, for want of anything else
    rr_prior: bool = True  # False: the RR head learns the interval from the embeddings alone


def refuse_code(specs: Iterable[BackboneSpec], where: str) -> None:
    """Refuse backbones of a file that would run code which the file itself names.

    The entry point of an installed package may be named by any file: who installed it has chosen it.

    Raises:
        ModelError: a factory is given as `module:function`.
    """
    named = [spec.factory for spec in specs if spec.factory is not None and ":" in spec.factory]
    if named:
        raise ModelError(
            f"{where} names code to be run, {named[0]!r}, which was not run. If you would run any code of whoever made "
            f"the file, give --trust-code; or install the backbone as an entry point of the group {ENTRY_POINTS}."
        )
