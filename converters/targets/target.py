"""What the export asks of a format: convert, name the operators it holds, run, read back, and judge."""

from __future__ import annotations

import platform
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ecgmoe_edge.device_profiles.formats import FORMATS
from ecgmoe_edge.runtime.manifest import Gate

if TYPE_CHECKING:
    from torch import nn

    from ecgmoe_edge.converters.experts import ModelSummary
    from ecgmoe_edge.converters.graph_of_file import Block
    from ecgmoe_edge.device_profiles import Profile
    from ecgmoe_edge.runtime.engine import Engine

_ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


class Target(ABC):
    """One format of model files. Its own packages are imported by its methods, never by its module."""

    name: ClassVar[str]  # of the format, in profiles and manifests; suffix of the model file
    modules: ClassVar[tuple[str, ...]] = ()  # what writing needs besides torch, by the names they are imported by
    readers: ClassVar[tuple[str, ...]] = ()  # what `summary` and `graph` need
    distributions: ClassVar[tuple[str, ...]] = ()  # whose versions belong in the manifest

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines of a profile that run such files."""
        return FORMATS[self.name].engines

    @property
    def file_name(self) -> str:
        """The model file's name in a bundle."""
        return f"model.{self.name}"

    def refuse(self, profile: Profile) -> None:  # noqa: B027 - a format may take every profile
        """Refuse, before any work, a profile that asks for what the format cannot have.

        Raises:
            ConversionError: it does.
        """

    @abstractmethod
    def operators(self, engine: str) -> frozenset[str]:
        """Names of the ATen operators that an engine holds: "conv2d", "add", ..."""

    @abstractmethod
    def convert(self, model: nn.Module, profile: Profile, path: Path) -> ModelSummary:
        """Write a student.

        Args:
            model: float `Pieces`, or the `IntegerStudent` where the profile's precision is int8.
            profile: what the file is for.
            path: the model file to write; further files may lie beside it.

        Raises:
            ConversionError: the student cannot be written so.
        """

    def files(self, path: Path) -> Mapping[str, Path]:
        """The files of a bundle that `convert` wrote at `path`, by their names in it."""
        return {path.name: path}

    @abstractmethod
    def engine(self, path: Path, profile: Profile) -> Engine:
        """The engine that runs the file on the board, here on the CPU, or what gives the same answers."""

    @abstractmethod
    def summary(self, path: Path) -> ModelSummary:
        """What a file holds.

        Raises:
            ConversionError: it cannot be read.
        """

    @abstractmethod
    def graph(self, path: Path) -> Block:
        """The main graph of a file, with its branches inside, for counting and drawing.

        Raises:
            ConversionError: it cannot be read.
        """

    def gates(self, path: Path, profile: Profile) -> tuple[Gate, ...]:
        """Gates of this format besides those that every export has."""
        del path, profile
        return ()

    def is_timed_here(self, profile: Profile) -> bool:
        """Whether the time that a file takes on this machine means anything."""
        del profile
        return True

    def unmeasured_here(self, profile: Profile) -> str:
        """Why this machine cannot tell which precision is faster on the profile's board; empty where it can."""
        here = _ARCHITECTURES.get(platform.machine().lower(), platform.machine())
        board = profile.board
        if board.architecture in ("any", here):
            return ""
        return f"{board.name} is {board.architecture} and this machine {here}"
