"""One TOML file a board: what it is, what runs on it, and the limits that an export for it has to keep."""

from ecgmoe_edge.device_profiles.loader import list_profiles, load_profile
from ecgmoe_edge.device_profiles.profile import (
    Board,
    Gates,
    Latency,
    Memory,
    ModelChoice,
    Precision,
    Profile,
    Runtime,
)

__all__ = [
    "Board",
    "Gates",
    "Latency",
    "Memory",
    "ModelChoice",
    "Precision",
    "Profile",
    "Runtime",
    "list_profiles",
    "load_profile",
]
