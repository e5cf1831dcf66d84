"""Learning curves can be plotted for positive and negative losses."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
from ecgmoe_edge.training.curves import plot_curves


@pytest.mark.parametrize("losses", [(1.0, 0.1), (-1.0, -2.0), (0.5, -0.5)])
def test_a_plot_is_written_for_losses_of_either_sign(losses: tuple[float, ...], tmp_path: Path) -> None:
    rows = [{"epoch": k + 1, "train.loss": loss, "score": 50.0 + k} for k, loss in enumerate(losses)]
    plot_curves(tmp_path / "curves.png", "run", rows, best_epoch=2)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    plot_curves(tmp_path / "none.png", "run", [], best_epoch=None)
    assert not (tmp_path / "none.png").exists()
