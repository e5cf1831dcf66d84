"""Fixtures of the serial side: signals, their frames, and waits with a time limit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ecgmoe_edge.firmware_bridge import LinkItem, SerialLink, StreamInfo, VirtualHolter
from ecgmoe_edge.firmware_bridge.frame import FrameEncoder

LEADS = ("II", "V1")
STEP_PV = 100_000
PATIENCE_S = 20.0


@pytest.fixture
def info() -> StreamInfo:
    return StreamInfo(Fraction(250), LEADS, (STEP_PV, STEP_PV), "bench")


@pytest.fixture
def encoder(info: StreamInfo) -> FrameEncoder:
    return FrameEncoder(info, run=7)


@pytest.fixture
def signal() -> Callable[[int], NDArray[np.float64]]:
    """n samples of two leads, mV, that the wire format's steps represent exactly."""

    def make(n: int) -> NDArray[np.float64]:
        codes = np.random.default_rng(n).integers(-50_000, 50_000, (len(LEADS), n))
        return np.asarray(codes * (STEP_PV * 1e-9), dtype=np.float64)

    return make


@pytest.fixture
def port(tmp_path: Path) -> Path:
    """Path of a virtual Holter's symlink."""
    return tmp_path / "ttyHolter"


@pytest.fixture
def everything() -> Callable[[SerialLink], list[LinkItem]]:
    """All items of a link until its end; a link that never ends fails the test instead of hanging it."""

    def collect(link: SerialLink) -> list[LinkItem]:
        expired = threading.Event()

        def give_up() -> None:
            expired.set()
            link.stop()

        timer = threading.Timer(PATIENCE_S, give_up)
        timer.start()
        try:
            items = list(link)
        finally:
            timer.cancel()
            link.close()
        assert not expired.is_set(), f"no end of stream within {PATIENCE_S} s; last items: {items[-3:]}"
        return items

    return collect


@pytest.fixture
def holter(signal: Callable[[int], NDArray[np.float64]], port: Path) -> Callable[..., VirtualHolter]:
    """A virtual Holter that replays n samples at 250 Hz; by default as fast as they are read."""

    def make(n: int = 2500, **options: object) -> VirtualHolter:
        settings: dict[str, object] = {"speed": 0.0, "link": port, "run": 7} | options
        return VirtualHolter([signal(n)], 250, LEADS, **settings)  # type: ignore[arg-type]

    return make
