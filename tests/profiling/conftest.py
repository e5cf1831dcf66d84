from __future__ import annotations

import sys
from pathlib import Path

import pytest

# The small models are in the tests of the runtime.
sys.path.append(str(Path(__file__).parents[1] / "runtime"))

from tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="session")
def tiny_bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")
