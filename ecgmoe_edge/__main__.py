"""`python -m ecgmoe_edge`: the command line."""

from __future__ import annotations

from ecgmoe_edge.cli import main

if __name__ == "__main__":
    main()
