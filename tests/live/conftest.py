from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def port(tmp_path: Path) -> Path:
    """Where a virtual Holter's symlink goes."""
    return tmp_path / "ttyHolter"
