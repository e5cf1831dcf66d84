"""`train`."""

EXAMPLES = ("ecgmoe-edge train",)


def train() -> None:
    """Placeholder until it lands."""
