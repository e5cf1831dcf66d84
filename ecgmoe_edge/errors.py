"""The errors of this package; each message states the fault and the remedy.

    EcgmoeError                 exit code 3
    ├── UsageError              exit code 2: options contradict each other, or an option has an invalid value
    ├── GateFailed              exit code 1: parity or accuracy is outside its limit; no bundle is written
    ├── MissingExtra            an optional package is not installed; the message names the extra to install
    ├── InputFileError          a path is not a readable file: missing, a FIFO, a folder, without permission, or empty
    ├── RecordError             a recording cannot be read: missing, truncated, without rate, or with invalid content
    ├── SignalError             samples cannot be used: wrong shape or sampling rate
    ├── BundleError             a bundle is incomplete, modified, or of an unknown schema
    ├── PatientFileError        the file of a patient's layer is invalid, or is for another bundle
    ├── ProfileError            a device profile does not exist or is invalid
    ├── ModelError              weights, configuration or targets do not fit the model
    ├── ConversionError         the target format or runtime does not support a graph
    ├── DeviceError             a serial port is missing, busy, without permission, or silent
    └── WorkerError             the system ended a worker process, for example because memory was short

The command line prints only the message and exits with `exit_code`. A traceback is always a defect of this package.
"""

from __future__ import annotations


class EcgmoeError(Exception):
    """Base class of all errors of this package."""

    exit_code = 3


class UsageError(EcgmoeError):
    """Options contradict each other, or an option has an invalid value."""

    exit_code = 2


class GateFailed(EcgmoeError):  # noqa: N818 - the name already states the failure
    """A parity, route or accuracy gate is outside its limit."""

    exit_code = 1


class MissingExtra(EcgmoeError):  # noqa: N818 - the name already states the fault
    """An optional package is not installed.

    Args:
        what: the package and its purpose, as the subject of a sentence.
        extra: the extra of this package that installs it.
    """

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} is not installed. Install it with: pip install 'ecgmoe-edge[{extra}]'")
        self._arguments = (what, extra)

    def __reduce__(self) -> tuple[type[MissingExtra], tuple[str, str]]:
        return type(self), self._arguments  # so that worker processes can send it to their parent


class InputFileError(EcgmoeError):
    """A path is not a readable file."""


class RecordError(EcgmoeError):
    """A recording cannot be read."""


class SignalError(EcgmoeError):
    """Samples cannot be used."""


class BundleError(EcgmoeError):
    """A bundle is incomplete, modified, or of an unknown schema."""


class PatientFileError(EcgmoeError):
    """The file of a patient's layer is invalid, or is for another bundle."""


class ProfileError(EcgmoeError):
    """A device profile does not exist or is invalid."""


class ModelError(EcgmoeError):
    """Weights, configuration or targets do not fit the model."""


class ConversionError(EcgmoeError):
    """The target does not support a graph."""


class DeviceError(EcgmoeError):
    """A serial device cannot be opened or read, or its protocol is not recognised."""


def one_line(error: Exception) -> str:
    """The first line of the message of another library's error, at most 160 characters; its type if it is empty."""
    first = next(iter(str(error).splitlines()), "").strip().rstrip(".")
    return first[:160] or type(error).__name__


class WorkerError(EcgmoeError):
    """The system ended a worker process."""
