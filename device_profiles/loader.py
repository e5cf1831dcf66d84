"""Finds and reads device profiles: those that ship, by name, and a user's own, by path."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import msgspec

from ecgmoe_edge.device_profiles.profile import Profile
from ecgmoe_edge.errors import InputFileError, ProfileError
from ecgmoe_edge.input_files import check_input_file, is_absent

_LARGEST = 1 << 20  # bytes; those that ship have some 2,000


def list_profiles() -> tuple[str, ...]:
    """Names of the profiles that ship, sorted."""
    return tuple(sorted(path.stem for path in _folder().glob("*.toml")))


def load_profile(name_or_path: str | Path) -> Profile:
    """The profile of that name, or in that TOML file. Raises ProfileError."""
    path = Path(name_or_path)
    if path.suffix != ".toml":
        name = str(name_or_path)
        if name not in list_profiles():
            raise ProfileError(
                f"There is no profile {name!r}. Those that ship are {', '.join(list_profiles())}; "
                "your own is given by its path, ending in .toml."
            )
        path = _folder() / f"{name}.toml"
    try:
        if not is_absent(path):
            check_input_file(path, "device profile")
        if path.stat().st_size > _LARGEST:
            raise ProfileError(f"The profile {path} has more than {_LARGEST:,} bytes. Name a device profile.")
        return msgspec.toml.decode(path.read_bytes(), type=Profile)
    except InputFileError as error:
        raise ProfileError(f"The profile cannot be read: {error}") from error
    except OSError as error:
        raise ProfileError(f"The profile {path} cannot be read: {error.strerror or error}.") from error
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ProfileError(
            f"The profile {path} does not hold ({error}). Compare it with one that ships: {', '.join(list_profiles())}."
        ) from error


def _folder() -> Path:
    return Path(str(resources.files("ecgmoe_edge.device_profiles")))
