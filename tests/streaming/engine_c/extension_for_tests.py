"""The C engine for tests: that of this installation, or one built for them."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3]))

from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.streaming import c_engine
from tools import c_extension


@contextmanager
def extension_in_use() -> Iterator[None]:
    """Make `engine="c"` possible, and skip the test if it is not."""
    if c_engine.extension() is not None:
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            c_extension.use(c_extension.build(Path(folder)))
        except UsageError as reason:
            pytest.skip(str(reason))
        before = os.environ.get("ECGMOE_ENGINE")
        os.environ["ECGMOE_ENGINE"] = "numpy"  # monitors of other tests that name no engine are as they were
        try:
            yield
        finally:
            del sys.modules[c_engine.NAME]
            os.environ.pop("ECGMOE_ENGINE")
            if before is not None:
                os.environ["ECGMOE_ENGINE"] = before
