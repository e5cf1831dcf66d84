"""`distill`."""

EXAMPLES = ("ecgmoe-edge distill",)


def distill() -> None:
    """Placeholder until it lands."""
