from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from installed_command import Cli


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    runner = Cli(tmp_path)
    yield runner
    for running in runner.running:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait(10)
