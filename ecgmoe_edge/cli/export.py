"""`export`."""

EXAMPLES = ("ecgmoe-edge export",)


def export() -> None:
    """Placeholder until it lands."""
