"""Quality of the serial link: time to reconnect, delay, load on one core, and hours with faults.

    python benchmarks/link.py [--quick] [--hours 8] [--speed 20] [--json]

Devices run in their own process over real pseudo-terminals, so only the receiver is measured. The long run uses the
complete `stream` with the shipped model, and adds up samples received and samples reported as lost.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.calibration_data import load_calibration
from ecgmoe_edge.firmware_bridge import (
    Faults,
    LinkReconnect,
    Samples,
    SerialLink,
    Settings,
    StreamInfo,
    VirtualHolter,
    get_protocol,
)
from ecgmoe_edge.firmware_bridge.frame import FrameEncoder
from ecgmoe_edge.firmware_bridge.pty_device import PtyDevice
from ecgmoe_edge.live import Session
from ecgmoe_edge.runtime import load_bundle, shipped_bundle
from ecgmoe_edge.streaming import Monitor
from ecgmoe_edge.streaming.events import End

T = TypeVar("T")
INFO = StreamInfo(Fraction(250), ("II",), (100_000,), "bench")
NEVER = threading.Event()
FRAME = np.zeros((1, 12), dtype=np.int32)  # 48 ms at 250 Hz
START_S = 120.0  # start of a device's process on a busy machine
SHARE_OF = ("ecgmoe", "cyton")  # 8 channels at 1000 Hz


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "tty"


def replug(times: int, away_s: float = 1.0) -> dict[str, float]:
    """Seconds from connection to the first sample, and the error of the time in the event."""
    encoder, back_s, wrong_s = FrameEncoder(INFO, run=1), [], []
    with _folder() as path:
        device = PtyDevice(path)
        with SerialLink(str(path)) as link:
            items = iter(link)
            for _ in range(times):
                _send_until(device, encoder, items, Samples)
                device.unplug(will_return=True)
                gone = time.monotonic()
                time.sleep(away_s)
                device.plug_in()
                plugged = time.monotonic()
                reconnected = _send_until(device, encoder, items, LinkReconnect)
                _send_until(device, encoder, items, Samples)
                back_s.append(time.monotonic() - plugged)
                wrong_s.append(abs(reconnected.away_s - (plugged - gone)))
        device.unplug()
    return {
        "times": times,
        "worst_s": max(back_s),
        "median_s": float(np.median(back_s)),
        "event_off_by_s": max(wrong_s),
    }


def _send_until(device: PtyDevice, encoder: FrameEncoder, items: Iterator[Any], kind: type[T]) -> T:
    """Send like a device until the link gives an item of this kind."""
    done = threading.Event()

    def play() -> None:
        while not done.wait(0.048):
            if device.reader()[0]:
                device.write(encoder.info_frame() + encoder.samples_frame(FRAME), done)

    player = threading.Thread(target=play)
    player.start()
    try:
        return next(item for item in items if isinstance(item, kind))
    finally:
        done.set()
        player.join()


def delay_ms(frames: int) -> dict[str, float]:
    """Milliseconds from a frame's last byte to its samples at the receiver's caller."""
    encoder, waits = FrameEncoder(INFO, run=1), []
    with _folder() as path:
        device = PtyDevice(path)
        with SerialLink(str(path)) as link:
            items = iter(link)
            _send_until(device, encoder, items, Samples)
            while link.stats()["samples"] < encoder.index:
                time.sleep(0.01)
            for _ in range(frames):
                data = encoder.samples_frame(FRAME)
                sent = time.perf_counter()
                device.write(data, NEVER)
                while True:
                    item = next(items)
                    if isinstance(item, Samples) and item.first_index + item.values.shape[1] >= encoder.index:
                        break
                waits.append(1000 * (time.perf_counter() - sent))
                time.sleep(0.02)
        device.unplug()
    return {f"p{p}": float(np.percentile(waits, p)) for p in (50, 95, 99)}


def core_share(protocol: str, seconds: float) -> float:
    """Fraction of one core that the receiver needs for 8 channels at 1000 Hz."""
    with (
        _folder() as path,
        _player(path, protocol=protocol, seconds=seconds),
        SerialLink(str(path), protocol=protocol, give_up_after_s=0.5, wait_for_port_s=START_S) as link,
    ):
        began, used, samples = 0.0, 0.0, 0
        for item in link:
            if isinstance(item, Samples):
                if not began:
                    began, used = time.monotonic(), time.process_time()
                samples += item.values.shape[1]
                if samples >= 1000 * (seconds - 1.0):
                    break
        return (time.process_time() - used) / (time.monotonic() - began)


def soak(hours: float, speed: float) -> dict[str, float | int]:
    """Play a long signal with every kind of fault; return samples sent, samples accounted for, and memory growth."""
    seconds = hours * 3600.0
    bundle = load_bundle(shipped_bundle(), threads=1)

    def make_monitor(info: StreamInfo) -> Monitor:
        return Monitor(bundle, info.fs, leads=info.leads)

    at_tenth, sample = 0.0, 0
    wall = time.monotonic()
    with _folder() as path, _player(path, protocol="soak", seconds=seconds, speed=speed) as player:
        with SerialLink(str(path), wait_for_port_s=START_S) as link:
            for event in Session(link, make_monitor).events():
                sample = max(sample, getattr(event, "sample", 0))
                if not at_tenth and sample >= 0.1 * seconds * load_calibration().fs:
                    at_tenth = _rss_mb()
        grown = _rss_mb() - at_tenth
        played = json.loads(player.communicate(timeout=60)[0])
    end = cast("End", event)  # the last event is End, or an exception is raised
    return {
        "hours": hours,
        "wall_s": round(time.monotonic() - wall, 1),
        "rss_growth_mb": round(grown, 2),
        "samples_in": played["samples"],
        "samples_accounted": end.samples + end.lost,
        "samples_received": end.samples,
        "samples_lost": end.lost,
        "lost_in_host": end.link["lost_in_host"],  # if this machine was too slow for the speed
        "injected_lost_at_least": played["samples_dropped"] + played["samples_corrupted"],
        "gaps": end.gaps,
        "reconnects": end.link["reconnects"],
        "stalls": end.link["stalls"],
        "beats": sum(end.beats.values()),
    }


@contextmanager
def _player(path: Path, **what: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A simulated device in its own process."""
    command = [sys.executable, __file__, "--play", json.dumps({"path": str(path), **what})]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.terminate()


def play(what: dict[str, Any]) -> None:
    """Run the device until the end of its recording; print its totals to stdout."""
    if what["protocol"] == "soak":
        recording = load_calibration()
        repeats = round(what["seconds"] / (recording.signal.shape[1] / recording.fs))
        times = max(1, round(what["seconds"] / 600))  # each kind of fault every ten minutes
        every_s = what["seconds"] / times
        faults = Faults(
            drop=0.002,
            corrupt=0.002,
            stall_at_s=tuple(every_s * (i + 0.25) for i in range(times)),
            stall_s=2.5,
            unplug_at_s=tuple(every_s * (i + 0.75) for i in range(times)),
            unplug_s=10.0,
            jitter_s=0.002,
        )
        blocks = (recording.signal for _ in range(repeats))
        holter = VirtualHolter(
            blocks, recording.fs, recording.leads, link=what["path"], speed=what["speed"], faults=faults
        )
        samples = repeats * recording.signal.shape[1]
    else:
        encoder = get_protocol(what["protocol"]).make_encoder(Settings())
        rate = 1000.0 if what["protocol"] == "ecgmoe" else float(encoder.rate)
        signal = _noise(8, round(rate))
        samples = round(what["seconds"]) * 1000
        blocks = (signal for _ in range(round(samples / rate)))
        leads = tuple(f"ch{channel}" for channel in range(1, 9))
        holter = VirtualHolter(blocks, rate, leads, link=what["path"], protocol=what["protocol"], speed=1000.0 / rate)
    totals = holter.play()
    json.dump({"samples": samples, **vars(totals)}, sys.stdout)


def _noise(leads: int, n: int) -> NDArray[np.float64]:
    return np.asarray(np.random.default_rng(0).normal(0, 0.5, (leads, n)))


def _rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="under a minute")
    parser.add_argument("--hours", type=float, help="hours of signal in the long run; default 8, quick 0.083")
    parser.add_argument("--speed", type=float, default=20.0, help="speed of the long run relative to real time")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--play", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.play:
        play(json.loads(arguments.play))
        return
    quick = arguments.quick
    hours = arguments.hours or (1 / 12 if quick else 8.0)
    result = {
        "replug": replug(3 if quick else 20),
        "delay_ms": delay_ms(100 if quick else 1000),
        "core_share_8ch_1khz": {name: core_share(name, 5.0 if quick else 30.0) for name in SHARE_OF},
        "soak": soak(hours, arguments.speed),
    }
    if arguments.json:
        json.dump(result, sys.stdout, indent=2)
        print()
        return
    for name, figures in result.items():
        print(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
