"""The documents name every key that a user meets, and only commands, options and targets that exist."""

from __future__ import annotations

import dataclasses
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from typer.testing import CliRunner

from ecgmoe_edge.cli.app import app
from ecgmoe_edge.device_profiles.profile import Profile
from ecgmoe_edge.runtime.manifest import Manifest
from ecgmoe_edge.streaming import events

ROOT = Path(__file__).parents[2]
DOCS = sorted((ROOT / "docs").glob("*.md"))
INDEX = ROOT / "docs" / "README.md"
PAGES = sorted(
    {*ROOT.glob("*.md"), *DOCS, *ROOT.glob("*/README.md"), *(ROOT / "firmware_bridge" / "firmware").glob("*.md")}
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_document_holds_the_marks_of_an_unfinished_merge(page: Path) -> None:
    marks = ("<" * 7 + " ", "=" * 7 + "\n", ">" * 7 + " ")
    assert not [line for line in page.read_text(encoding="utf-8").splitlines(keepends=True) if line.startswith(marks)]


def _text(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def _keys_of(struct: type[msgspec.Struct]) -> set[str]:
    """Names of all fields, those of nested tables included."""
    names: set[str] = set()
    for field in msgspec.structs.fields(struct):
        names.add(field.name)
        for inner in (field.type, *get_args(field.type)):
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                names |= _keys_of(inner)
    return names


def _undocumented(names: set[str], text: str) -> set[str]:
    return {name for name in names if not re.search(rf"`(\[\[?)?([a-z_]+\.)?{name}(\]?\])?`", text)}


@pytest.mark.parametrize("event", get_args(events.Event), ids=lambda event: event.__name__)
def test_every_key_of_an_event_is_described(event: Any) -> None:
    assert not _undocumented({field.name for field in dataclasses.fields(event)}, _text("events.md"))


def test_every_key_of_a_manifest_is_described() -> None:
    assert not _undocumented({field.name for field in msgspec.structs.fields(Manifest)}, _text("bundle.md"))


def test_every_key_of_a_profile_is_described() -> None:
    assert not _undocumented(_keys_of(Profile), _text("profiles.md"))


def test_every_key_of_a_training_configuration_is_described() -> None:
    pytest.importorskip("torch")
    from ecgmoe_edge.training.config import TrainingConfig

    assert not _undocumented(_keys_of(TrainingConfig), _text("training.md"))


def test_every_link_between_documents_leads_somewhere() -> None:
    broken = {
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target.partition("#")[0]).exists()
    }
    assert not broken


def _anchors(page: Path) -> set[str]:
    """Anchors of the headings of a page, as GitHub makes them; code blocks hold no headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_to_a_heading_finds_it() -> None:
    broken = set()
    for page in PAGES:
        for target, anchor in re.findall(r"\]\(([^)\s#:]*)#([^)\s]+)\)", page.read_text(encoding="utf-8")):
            linked = page if not target else page.parent / target
            if linked.suffix == ".md" and anchor not in _anchors(linked):
                broken.add(f"{page.relative_to(ROOT)}: {target}#{anchor}")
    assert not broken


def test_every_page_is_in_the_index() -> None:
    linked = {
        (INDEX.parent / target).resolve()
        for target in re.findall(r"\]\(([^)\s#]+)", INDEX.read_text(encoding="utf-8"))
        if "://" not in target
    }
    assert {page.name for page in DOCS if page != INDEX and page.resolve() not in linked} == set()


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_a_page_opens_with_what_it_answers(page: Path) -> None:
    title, empty, opening, *_ = page.read_text(encoding="utf-8").split("\n")
    assert title.startswith("# ")
    assert not empty
    assert re.fullmatch(r"\*\*This page answers:\*\* [a-z].+\?", opening)


@lru_cache
def _help(command: str) -> str:
    shown = CliRunner().invoke(app, [command, "--help"])
    return shown.stdout if shown.exit_code == 0 else ""


def test_every_command_and_option_that_the_documents_name_exists() -> None:
    unknown = set()
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for command, rest in re.findall(r"ecgmoe-edge ([a-z]+)([^\n`|#>]*)", text):
            known = _help(command)
            if not known:
                unknown.add(f"{page.relative_to(ROOT)}: ecgmoe-edge {command}")
            for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", rest):
                if not re.search(rf"(?<![\w-]){option}(?![\w-])", known):
                    unknown.add(f"{page.relative_to(ROOT)}: ecgmoe-edge {command} {option}")
    assert not unknown


def test_every_script_and_option_that_the_documents_name_exists() -> None:
    unknown = set()
    for page in PAGES:
        text = re.sub(r"\\\n|(?<=[^`\n])\n(?=--)", " ", page.read_text(encoding="utf-8"))
        for folder, name, rest in re.findall(
            r"(?<![\w/])(benchmarks|experiments|tools)[/.](\w+)(?:\.py)?\b([^\n`|#>]*)", text
        ):
            script = ROOT / folder / f"{name}.py"
            known = script.read_text(encoding="utf-8") if script.is_file() else ""
            if not known:
                unknown.add(f"{page.relative_to(ROOT)}: {folder}/{name}.py")
            for option in re.findall(r"(?<!\S)--[a-z][a-z-]*", rest):
                if f'"{option}"' not in known:
                    unknown.add(f"{page.relative_to(ROOT)}: {folder}/{name}.py {option}")
    assert not unknown


def test_every_make_target_that_the_documents_name_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        target for page in PAGES for target in re.findall(r"`?make ([a-z][a-z-]*)`", page.read_text(encoding="utf-8"))
    }
    assert named
    assert named <= targets
