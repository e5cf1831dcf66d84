"""Every error this package raises on purpose; each message says what happened and what to do.

    EcgmoeError                 exit code 3
    ├── UsageError              exit code 2: options that contradict each other or name nothing
    ├── GateFailed              exit code 1: parity or accuracy outside the profile's limit; no bundle is left
    ├── MissingExtra            an optional part is not installed; names the extra to install
    ├── InputFileError          a path that is no readable file: absent, a FIFO, a folder, without permission, empty
    ├── RecordError             a recording that cannot be read: missing, truncated, no rate, text in a CSV
    ├── SignalError             samples that cannot be used as given: wrong shape, wrong rate
    ├── BundleError             a bundle that is incomplete, tampered with, or of an unknown schema
    ├── ProfileError            a device profile that does not parse or does not exist
    ├── ModelError              weights, configuration or targets that do not fit the model
    ├── ConversionError         a graph that the target format or runtime cannot hold
    └── DeviceError             a serial port: absent, busy, without permission, or silent

The command line prints the message alone and exits with `exit_code`; a traceback is always a defect of ours.
"""

from __future__ import annotations


class EcgmoeError(Exception):
    """Root of all errors of this package."""

    exit_code = 3


class UsageError(EcgmoeError):
    """Options or names that cannot be understood together."""

    exit_code = 2


class GateFailed(EcgmoeError):  # noqa: N818 - a gate fails; "GateFailedError" says it twice
    """A parity, route or accuracy gate is outside its limit."""

    exit_code = 1


class MissingExtra(EcgmoeError):  # noqa: N818 - reads as what it is
    """A part of the package that needs an optional dependency is used without it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} is not installed. Install it with: pip install 'ecgmoe-edge[{extra}]'")
        self._arguments = (what, extra)

    def __reduce__(self) -> tuple[type[MissingExtra], tuple[str, str]]:
        return type(self), self._arguments  # so that it reaches the parent of a worker process


class InputFileError(EcgmoeError):
    """A path that does not lead to a file that can be read."""


class RecordError(EcgmoeError):
    """A recording that cannot be read."""


class SignalError(EcgmoeError):
    """Samples that cannot be used as given."""


class BundleError(EcgmoeError):
    """A bundle that cannot be trusted or understood."""


class ProfileError(EcgmoeError):
    """A device profile that cannot be used."""


class ModelError(EcgmoeError):
    """Weights, configuration or targets that do not fit the model."""


class ConversionError(EcgmoeError):
    """A graph that the target cannot hold."""


class DeviceError(EcgmoeError):
    """A serial device that cannot be opened, read or understood."""
