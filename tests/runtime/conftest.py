from __future__ import annotations

from pathlib import Path

import pytest
from tiny_bundle import tiny_files, tiny_manifest, write_tiny_bundle

from ecgmoe_edge.runtime.manifest import Manifest


@pytest.fixture
def manifest() -> Manifest:
    """The manifest of the small ONNX model."""
    return tiny_manifest()


@pytest.fixture
def files() -> dict[str, bytes | Path]:
    return tiny_files()


@pytest.fixture
def bundle_folder(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path / "tiny")
