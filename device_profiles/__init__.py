"""Device profiles: one TOML file per board, with its hardware, its runtime, and the limits for an export."""

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
