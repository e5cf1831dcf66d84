"""Writes the generated files of the C monitor again: `python -m ecgmoe_edge.streaming.c_tables`."""

from __future__ import annotations

from ecgmoe_edge.streaming.c_tables.generated import generated_files


def main() -> None:
    """Write each file that is not up to date, and print its name."""
    for path, text in generated_files().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(path.name)  # noqa: T201


if __name__ == "__main__":
    main()
