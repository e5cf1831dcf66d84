"""Converts between bytes, integer codes and millivolts, in the number formats that devices use."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import UsageError
from ecgmoe_edge.firmware_bridge.items import Settings


def table(frames: list[bytes]) -> NDArray[np.uint8]:
    """Frames of one size as bytes, (frames, bytes of a frame).

    >>> table([b"ab", b"cd"]).shape
    (2, 2)
    """
    return np.frombuffer(b"".join(frames), dtype=np.uint8).reshape(len(frames), -1)


def integers(raw: NDArray[np.uint8], kind: str) -> NDArray[np.float64]:
    """Decode packed integers.

    Args:
        raw: bytes, (samples, channels * bytes of an integer).
        kind: numpy's name of the integer type, such as "<i4"; also ">i3" and "<i3" for 24 bits.

    Returns:
        Values, (channels, samples).

    >>> integers(np.array([[0xFF, 0xFF, 0xFE]], dtype=np.uint8), ">i3").tolist()
    [[-2.0]]
    """
    if kind[1:] == "i3":
        wide = np.zeros((*raw.shape[:1], raw.shape[1] // 3, 4), dtype=np.uint8)
        triples = raw.reshape(len(raw), -1, 3)
        wide[..., 1:] = triples if kind[0] == "<" else triples[..., ::-1]
        return np.asarray(wide.view("<i4")[..., 0].T >> 8, dtype=np.float64)
    return np.asarray(np.ascontiguousarray(raw).view(kind).T, dtype=np.float64)


def pack(codes: NDArray[np.int64], kind: str) -> bytes:
    """Inverse of `integers`: codes (channels, samples) to bytes, sample by sample."""
    if kind[1:] == "i3":
        raw = np.ascontiguousarray(codes.T, dtype=kind[0] + "i4").view(np.uint8).reshape(*codes.T.shape, 4)
        return (raw[..., :3] if kind[0] == "<" else raw[..., 1:]).tobytes()
    return np.ascontiguousarray(codes.T, dtype=kind).tobytes()


def to_codes(values: NDArray[np.float64], uv_per_lsb: float, low: int, high: int) -> tuple[NDArray[np.int64], int]:
    """Encode samples as integer codes.

    Args:
        values: mV, (leads, samples); NaN becomes 0.
        uv_per_lsb: scale, uV per step.
        low: lowest code; lower ones are clipped.
        high: highest code; higher ones are clipped.

    Returns:
        The codes, (leads, samples), and the number of samples at which some lead was clipped.
    """
    codes = np.rint(np.nan_to_num(values) * (1000.0 / uv_per_lsb))
    beyond = ((codes < low) | (codes > high)).any(axis=0)
    return np.asarray(np.clip(codes, low, high), dtype=np.int64), int(beyond.sum())


def rows_of(values: NDArray[np.float64], channels: int) -> NDArray[np.float64]:
    """The first `channels` rows of values (leads, samples). Missing rows are 0."""
    out = np.zeros((channels, values.shape[1]))
    out[: len(values)] = values[:channels]
    return out


def given_scale(settings: Settings, name: str, hint: str) -> float:
    """The scale that the user has given, uV per step. It is never guessed: a wrong scale gives a wrong amplitude.

    Args:
        settings: of the user.
        name: the protocol's name, for the message.
        hint: how to calculate the scale, for the message.

    Raises:
        UsageError: no scale, or not a positive one.
    """
    if settings.uv_per_lsb is None:
        raise UsageError(f"The {name} protocol does not transmit its scale: give --uv-per-lsb, {hint}.")
    if not settings.uv_per_lsb > 0:
        raise UsageError(f"--uv-per-lsb takes a positive number; it got {settings.uv_per_lsb:g}.")
    return settings.uv_per_lsb
