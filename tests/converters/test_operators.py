from __future__ import annotations

import pytest
from torch import Tensor, nn

from ecgmoe_edge.compress.dispatch import Pieces
from ecgmoe_edge.compress.qat import IntegerStudent
from ecgmoe_edge.converters.operators import check_operators
from ecgmoe_edge.converters.targets import targets
from ecgmoe_edge.errors import ConversionError


@pytest.mark.parametrize("engine", [engine for target in targets() for engine in target.engines])
def test_every_runtime_supports_the_operators_of_the_student(
    engine: str, pieces: Pieces, integer: IntegerStudent
) -> None:
    check_operators(pieces, engine)
    check_operators(integer.unfolded, engine)


class ExpertWithLayerNorm(nn.Module):
    def __init__(self, expert: nn.Module) -> None:
        super().__init__()
        self.expert, self.norm = expert, nn.LayerNorm(16)

    def forward(self, z: Tensor) -> Tensor:
        y: Tensor = self.norm(self.expert(z))
        return y


def test_an_unsupported_operator_is_named_with_its_piece(pieces: Pieces) -> None:
    experts = [*pieces.rhythm[:1], ExpertWithLayerNorm(pieces.rhythm[1]), *pieces.rhythm[2:]]
    foreign = Pieces(pieces.trunk, pieces.morphology, experts, pieces.tail, pieces.tasks)
    with pytest.raises(ConversionError, match="rhythm_1: layer_norm"):
        check_operators(foreign, "tflite-micro")
    check_operators(foreign, "onnxruntime")


def test_an_unknown_runtime_is_refused(pieces: Pieces) -> None:
    with pytest.raises(ConversionError, match="onnxruntime"):
        check_operators(pieces, "abacus")
