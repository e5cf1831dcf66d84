"""A student split into pieces; one expert per path runs. It is the PyTorch reference for every exported file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from torch import Tensor, nn

from ecgmoe_edge.contract import PATHS, ROUTES
from ecgmoe_edge.model.shared_layers import Route
from ecgmoe_edge.model.student import run_student


class Pieces(nn.Module):
    """The trunk, the experts of both paths, and the tail, each as a separate module, in float or int8.

    The trunk returns `trunk_outputs`. An expert maps "z" to "y". The tail takes `tail_inputs` and returns the logits
    of `tasks`. A boundary tensor is an output of one piece that is an input of another. In int8 pieces, a boundary
    tensor has the same scale on both sides.
    """

    def __init__(
        self,
        trunk: nn.Module,
        morphology: Iterable[nn.Module],
        rhythm: Iterable[nn.Module],
        tail: nn.Module,
        tasks: Sequence[str],
    ) -> None:
        super().__init__()
        self.trunk, self.tail = trunk, tail
        self.morphology, self.rhythm = nn.ModuleList(morphology), nn.ModuleList(rhythm)
        self.tasks = tuple(tasks)

    @staticmethod
    def from_named(named: Mapping[str, nn.Module], tasks: Sequence[str]) -> Pieces:
        """Assemble pieces from modules with the names that `named` yields."""
        banks = []
        for path in PATHS:
            count = sum(name.startswith(f"{path}_") for name in named)
            banks.append([named[f"{path}_{index}"] for index in range(count)])
        return Pieces(named["trunk"], banks[0], banks[1], named["tail"], tasks)

    @property
    def trunk_outputs(self) -> tuple[str, ...]:
        """Names of the trunk's outputs, in order."""
        return ("z_morphology", "z_rhythm", *ROUTES, *self.gates)

    @property
    def tail_inputs(self) -> tuple[str, ...]:
        """Names of the tail's inputs, in order."""
        return ("y_morphology", "y_rhythm", *self.gates)

    @property
    def gates(self) -> tuple[str, ...]:
        """Names of the period-aware gate's outputs, one per task."""
        return tuple(f"gate_{task}" for task in self.tasks)

    def banks(self) -> dict[str, nn.ModuleList]:
        """The bank of experts of each path, by the path's name."""
        return dict(zip(PATHS, (self.morphology, self.rhythm), strict=True))

    def named(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield each piece with its name: trunk, morphology_0, ..., rhythm_0, ..., tail."""
        yield "trunk", self.trunk
        for path, experts in self.banks().items():
            for index, expert in enumerate(experts):
                yield f"{path}_{index}", expert
        yield "tail", self.tail

    def forward(self, beat: Tensor, features: Tensor, rr_sequence: Tensor, route: Route = "hard") -> dict[str, Tensor]:
        """Run the student with static top-1 dispatch.

        For each row and each path, only the expert with the largest router logit runs. On a tie, the expert with the
        lowest index runs. `route="soft"` runs all experts and mixes their outputs. Shapes and units of the inputs and
        outputs are those of `Student.forward`.
        """
        return run_student(self, beat, features, rr_sequence, route, training=False)
