"""Reads device profiles: the shipped ones by name, and a user's own by path."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import msgspec

from ecgmoe_edge.device_profiles.profile import Profile
from ecgmoe_edge.errors import InputFileError, ProfileError
from ecgmoe_edge.input_files import check_input_file, is_absent

_LARGEST = 1 << 20  # bytes; the shipped profiles have about 2,000


def list_profiles() -> tuple[str, ...]:
    """Return the names of the shipped profiles, sorted."""
    return tuple(sorted(path.stem for path in _folder().glob("*.toml")))


def load_profile(name_or_path: str | Path) -> Profile:
    """Load a device profile.

    Args:
        name_or_path: name of a shipped profile, or path of a file whose name ends in .toml.

    Raises:
        ProfileError: there is no such profile, the file cannot be read, or its content is not valid.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        name = str(name_or_path)
        if name not in list_profiles():
            raise ProfileError(
                f"There is no profile {name!r}. The shipped profiles are {', '.join(list_profiles())}. "
                "Give your own profile by its path, which ends in .toml."
            )
        path = _folder() / f"{name}.toml"
    try:
        if not is_absent(path):
            check_input_file(path, "device profile")
        if path.stat().st_size > _LARGEST:
            raise ProfileError(
                f"The file {path} has more than {_LARGEST:,} bytes, so it is not a device profile. Give another file."
            )
        return msgspec.toml.decode(path.read_bytes(), type=Profile)
    except InputFileError as error:
        raise ProfileError(f"The profile cannot be read: {error}") from error
    except OSError as error:
        raise ProfileError(f"The profile {path} cannot be read: {error.strerror or error}.") from error
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ProfileError(
            f"The profile {path} is not valid ({error}). "
            f"Compare it with a shipped profile: {', '.join(list_profiles())}."
        ) from error


def _folder() -> Path:
    return Path(str(resources.files("ecgmoe_edge.device_profiles")))
