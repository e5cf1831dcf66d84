"""A student cut into pieces that run one expert a path: what every exported file must do, written in PyTorch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from torch import Tensor, nn

from ecgmoe_edge.contract import PATHS, ROUTES
from ecgmoe_edge.model.routing import Route
from ecgmoe_edge.model.student import run_student


class Pieces(nn.Module):
    """Trunk, experts of both banks, and tail; each a module of its own, float or integer.

    The trunk yields `trunk_outputs`, an expert turns "z" into "y", the tail takes `tail_inputs` and yields
    the logits of `tasks`. A vector that leaves one piece and enters another is a seam: in integer pieces it
    has one scale on both sides.
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
        """The pieces that `named` lists, put together again."""
        banks = []
        for path in PATHS:
            count = sum(name.startswith(f"{path}_") for name in named)
            banks.append([named[f"{path}_{index}"] for index in range(count)])
        return Pieces(named["trunk"], banks[0], banks[1], named["tail"], tasks)

    @property
    def trunk_outputs(self) -> tuple[str, ...]:
        """Names of what the trunk yields, in order."""
        return ("z_morphology", "z_rhythm", *ROUTES, *self.gates)

    @property
    def tail_inputs(self) -> tuple[str, ...]:
        """Names of what the tail takes, in order."""
        return ("y_morphology", "y_rhythm", *self.gates)

    @property
    def gates(self) -> tuple[str, ...]:
        """Names of the period-aware gate's outputs, one a task."""
        return tuple(f"gate_{task}" for task in self.tasks)

    def banks(self) -> dict[str, nn.ModuleList]:
        """The experts of each path, by the path's name."""
        return dict(zip(PATHS, (self.morphology, self.rhythm), strict=True))

    def named(self) -> Iterator[tuple[str, nn.Module]]:
        """Every piece with its name: trunk, morphology_0, ..., rhythm_0, ..., tail."""
        yield "trunk", self.trunk
        for path, experts in self.banks().items():
            for index, expert in enumerate(experts):
                yield f"{path}_{index}", expert
        yield "tail", self.tail

    def forward(self, beat: Tensor, features: Tensor, rr_sequence: Tensor, route: Route = "hard") -> dict[str, Tensor]:
        """Static top-1 dispatch: each row runs the one expert a path that its router prefers, the lowest on a
        tie.

        Shapes, units and outputs are those of `Student.forward`; `route="soft"` mixes all experts instead.
        """
        return run_student(self, beat, features, rr_sequence, route, training=False)
