"""Base class of a file format: how the export writes, runs, reads back and checks its files."""

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

    from ecgmoe_edge.converters.file_contents import Graph, ModelSummary
    from ecgmoe_edge.device_profiles import Profile
    from ecgmoe_edge.runtime.engine import Engine

_ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


class Target(ABC):
    """One format of model files. The packages of the format are imported in methods, never at module level."""

    name: ClassVar[str]  # name of the format in profiles and manifests; suffix of the model file
    modules: ClassVar[tuple[str, ...]] = ()  # modules that `convert` needs besides torch
    readers: ClassVar[tuple[str, ...]] = ()  # modules that `summary` and `graph` need
    distributions: ClassVar[tuple[str, ...]] = ()  # packages whose versions the manifest records

    @property
    def engines(self) -> tuple[str, ...]:
        """Engine names in a profile that run files of this format."""
        return FORMATS[self.name].engines

    @property
    def file_name(self) -> str:
        """Name of the model file in a bundle."""
        return f"model.{self.name}"

    def refuse(self, profile: Profile) -> None:  # noqa: B027 - a format can accept every profile
        """Check before any work that the format supports what the profile requires.

        Raises:
            ConversionError: the format does not support it.
        """

    @abstractmethod
    def operators(self, engine: str) -> frozenset[str]:
        """Return the names of the ATen operators that an engine supports: "conv2d", "add", ..."""

    @abstractmethod
    def convert(self, model: nn.Module, profile: Profile, path: Path) -> ModelSummary:
        """Write a student as a model file.

        Args:
            model: an `IntegerStudent` if the profile's precision is int8, else float `Pieces`.
            profile: the profile that the file is for.
            path: the model file to write; further files may be written next to it.

        Raises:
            ConversionError: the student cannot be written in this format.
        """

    def files(self, path: Path) -> Mapping[str, Path]:
        """Return the files that `convert` wrote for `path`, by their names in the bundle."""
        return {path.name: path}

    @abstractmethod
    def engine(self, path: Path, profile: Profile) -> Engine:
        """Return an engine for this machine's CPU with the same outputs as the engine on the board."""

    @abstractmethod
    def summary(self, path: Path) -> ModelSummary:
        """Summarise a file.

        Raises:
            ConversionError: the file cannot be read.
        """

    @abstractmethod
    def graph(self, path: Path) -> Graph:
        """Read the main graph of a file, including its branches, for the cost breakdown and the drawing.

        Raises:
            ConversionError: the file cannot be read.
        """

    def gates(self, path: Path, profile: Profile) -> tuple[Gate, ...]:
        """Run the gates of this format that are additional to those of every export."""
        del path, profile
        return ()

    def is_timed_here(self, profile: Profile) -> bool:
        """Whether the inference time on this machine is representative for the profile."""
        del profile
        return True

    def unmeasured_here(self, profile: Profile) -> str:
        """Return why this machine cannot measure which precision is faster on the board; empty if it can."""
        here = _ARCHITECTURES.get(platform.machine().lower(), platform.machine())
        board = profile.board
        if board.architecture in ("any", here):
            return ""
        return f"{board.name} is {board.architecture} and this machine {here}"
