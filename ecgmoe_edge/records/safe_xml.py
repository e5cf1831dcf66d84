"""Parses XML of unknown origin safely: no entities, no external files, and limits on size, depth and elements."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from ecgmoe_edge.errors import RecordError, one_line
from ecgmoe_edge.records.first_bytes import open_binary

_LARGEST = 64 << 20  # bytes; 12 leads of 10 s take half a megabyte
_MOST_ELEMENTS = 300_000
_DEEPEST = 200


def read_xml(path: Path) -> Element:
    """Parse an XML file; names of elements and attributes in the result have no namespace.

    Raises:
        RecordError: the file is not well-formed, declares entities or exceeds a limit.
    """
    size = path.stat().st_size
    if size > _LARGEST:
        raise RecordError(f"{path.name} has {size >> 20} MiB, too much for an ECG in XML. Export the recording as EDF.")
    parser = expat.ParserCreate()
    parser.buffer_text = True
    builder = _Builder(path.name)
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.builder.data
    parser.StartDoctypeDeclHandler = builder.doctype
    parser.EntityDeclHandler = builder.refuse
    parser.SkippedEntityHandler = builder.refuse
    try:
        with open_binary(path) as file:
            parser.ParseFile(file)
        return builder.builder.close()
    except (expat.ExpatError, ValueError, LookupError, AssertionError) as reason:
        raise RecordError(
            f"{path.name} is not well-formed XML ({one_line(reason)}). Copy it again from its source."
        ) from None


def text_of(element: Element, name: str) -> str:
    """Text of the first child with this name, without surrounding blanks; empty if there is none."""
    return (element.findtext(name) or "").strip()


def named(element: Element, name: str) -> Iterator[Element]:
    """All descendants with this name."""
    return element.iter(name)


class _Builder:
    """Builds the tree and enforces the limits."""

    def __init__(self, file: str) -> None:
        self.builder = TreeBuilder()
        self._file = file
        self._elements = self._depth = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        self._depth += 1
        if self._elements > _MOST_ELEMENTS or self._depth > _DEEPEST:
            raise RecordError(f"{self._file} has more XML elements than any ECG. Export the recording again.")
        self.builder.start(_local(name), {_local(key): value for key, value in attributes.items()})

    def end(self, name: str) -> None:
        self._depth -= 1
        self.builder.end(_local(name))

    def doctype(self, _name: str, _system: str | None, _public: str | None, has_internal_subset: int) -> None:
        if has_internal_subset:
            self.refuse()

    def refuse(self, *_: object) -> None:
        raise RecordError(f"{self._file} declares XML entities, which no ECG needs. Export the recording again.")


def _local(name: str) -> str:
    return name.rpartition(":")[2]
