"""Examples of whole data sets, made by several processes and cached on disk, one file per run of a record.

The name of a cache file contains a digest of everything that its content depends on: the source code of the front end,
the settings of the data set, and the sizes and times of the record's files. If any of these changes, the examples are
made again.
"""

from __future__ import annotations

import glob
import hashlib
import re
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ecgmoe_edge.durable_files import replace_file
from ecgmoe_edge.errors import RecordError, SignalError, UsageError
from ecgmoe_edge.training.config import TrainingConfig
from ecgmoe_edge.training.examples import ARRAYS, Examples, examples_of, from_arrays, join
from ecgmoe_edge.training.examples_without_signal import examples_without_signal
from ecgmoe_edge.training.limits import Clock
from ecgmoe_edge.training.sources import Source, divide
from ecgmoe_edge.training.survey import Survey, listed, survey
from ecgmoe_edge.worker_processes import worker_processes

#: The digest covers these modules and all modules that they import.
_MAKE_EXAMPLES = ("ecgmoe_edge.training.examples", "ecgmoe_edge.training.examples_without_signal")
_FORMATS = "ecgmoe_edge.records.formats"  # the registry loads these modules without an import statement
_WITHOUT_EFFECT = ("ecgmoe_edge.errors", "ecgmoe_edge.streaming.events")  # only definitions, no computation
_ABANDONED_S = 3600.0  # an unfinished file of this age is not being written by a running process
_NO_BEAT = "The front end finds no beat in it."
_LAYOUT = 1  # version of the cache files; to be raised when a field of `Examples` changes its meaning


@dataclass(frozen=True)
class ExampleSets:
    """All examples of a training run. Validation examples are separated by data set ("mitdb", ...)."""

    fit: Examples
    validation: dict[str, Examples]
    left_out: Mapping[str, str] = field(default_factory=dict)  # reason by "set/record"

    def digest(self) -> str:
        """Return a short digest of all values and names; with corrected labels, for example, it changes."""
        digest = hashlib.sha256()
        for name, examples in (("", self.fit), *sorted(self.validation.items())):
            digest.update(f"{name} {' '.join(examples.records)}".encode())
            for array in examples.arrays().values():
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]


def build_examples(
    config: TrainingConfig,
    data_dir: Path,
    cache: Path,
    *,
    jobs: int = 1,
    clock: Clock | None = None,
    progress: bool = False,
    strict: bool = False,
    on_survey: Callable[[Survey], None] | None = None,
) -> ExampleSets:
    """Make the examples of all data sets of a configuration, or read them from the cache.

    First, each record that is not in the cache is checked. A record is left out, with the reason, if it cannot be read,
    has no annotations, a sampling rate that the front end does not support, no signal, or no beats although beats are
    to be learned from it.

    Args:
        config: lists the data sets.
        data_dir: folder that contains the folders of the data sets.
        cache: folder for the cached examples, which contain parts of the recordings; it is created if absent.
        jobs: number of processes.
        clock: time limit; None for no limit.
        progress: whether to show a progress bar on stderr.
        strict: whether to raise an error instead of leaving out a record.
        on_survey: called with the result of the check before the examples are made, and again if more records are left
            out then.

    Raises:
        RecordError: a table cannot be read, the cache cannot be written, or with `strict`, a record cannot be used.
        UsageError: the records cannot be divided into fit and validation, or no record is left to fit on.
        OutOfTime: the time limit is reached; the examples made so far are in the cache.
    """
    clock = clock or Clock()
    divided = [divide(data, data_dir) for data in config.data]
    found = survey(divided, partial(_is_cached, cache=cache), jobs=jobs, clock=clock)
    _report(found, strict, on_survey)
    sources = [source for division in found.divisions for source in (*division.fit, *division.validation)]
    made, unusable = _examples_of_all(sources, cache, jobs, clock, progress)
    if unusable:
        found = replace(found, left_out={**found.left_out, **unusable}, remarks={})
        _report(found, strict, on_survey)
    fit = [made[source] for division in found.divisions for source in division.fit if source in made]
    if not fit:
        raise UsageError(f"No record is left to fit on. {listed(found.left_out)}")
    validation = {
        data.name: join(of_set)
        for data, division in zip(config.data, found.divisions, strict=True)
        if (of_set := [made[source] for source in division.validation if source in made])
    }
    return ExampleSets(join(fit), validation, found.left_out)


def _report(found: Survey, strict: bool, on_survey: Callable[[Survey], None] | None) -> None:
    if strict and found.left_out:
        raise RecordError(f"{listed(found.left_out)} Correct or remove them, or omit --strict.")
    if on_survey is not None:
        on_survey(found)


def _is_cached(source: Source, cache: Path) -> bool:
    try:
        return cache_path(source, cache).is_file()
    except RecordError:
        return False


def cached_examples(source: Source, cache: Path) -> Examples:
    """Read the examples of one run from `cache`, or make them and write them there.

    Raises:
        RecordError: the record cannot be used, or the cache cannot be written.
        SignalError: the front end does not support the sampling rate.
    """
    path = cache_path(source, cache)
    if path.is_file():
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                arrays = {name: file[name] for name in ARRAYS}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            path.unlink(missing_ok=True)  # damaged, for example cut off on a full disk; it is made again below
        else:
            return from_arrays(arrays, (source.name,))
    examples = _examples_of(source)
    _store(examples, source, cache)
    return examples


def _examples_of(source: Source) -> Examples:
    return examples_without_signal(source) if source.data.labels == "rhythm-annotations" else examples_of(source)


def _store(examples: Examples, source: Source, cache: Path) -> None:
    """Write the examples of a run and delete its outdated cache files."""
    path = cache_path(source, cache)
    _write(examples, path)
    for stale in cache.glob(f"{glob.escape(_stem(source))}-*.npz"):
        if stale != path:
            stale.unlink(missing_ok=True)


def _write(examples: Examples, path: Path) -> None:
    """Write a cache file atomically.

    Raises:
        RecordError: it cannot be written, for example on a full disk.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(path) as partial, partial.open("wb") as written:
            arrays: dict[str, Any] = examples.arrays()
            np.savez(written, **arrays)
    except OSError as error:
        raise RecordError(
            f"The examples cannot be written to {path.parent} ({error.strerror or error}). They need about 10 MB for "
            "30 minutes of one lead. Free space there or give another folder with --cache, then repeat the command."
        ) from error


def cache_path(source: Source, cache: Path) -> Path:
    """Return the cache file of a run; the name changes if anything that the examples depend on has changed.

    Raises:
        RecordError: the record has no files.
    """
    digest = hashlib.sha256(front_end_digest().encode())
    digest.update(f"{_LAYOUT} {source.record in source.data.without_beat_labels}".encode())
    digest.update(msgspec.json.encode([_settings(source), source.facts]))
    beside = {source.path, *source.path.parent.glob(f"{glob.escape(source.record)}.*")}
    files = [path for path in sorted(beside) if path.is_file()]
    if not files:
        raise RecordError(f"There is no record {source.path}.")
    for file in files:
        stat = file.stat()
        digest.update(f"{file.name} {stat.st_size} {stat.st_mtime_ns}".encode())
    return cache / f"{_stem(source)}-{digest.hexdigest()[:16]}.npz"


def front_end_digest() -> str:
    """Return the digest of the source code that examples depend on, computed when this module was imported."""
    return _FRONT_END_DIGEST


def front_end_modules() -> dict[str, bytes]:
    """Return the source code of the modules that examples and labels depend on, by name; imports are followed."""
    texts: dict[str, bytes] = {}
    formats = resources.files(_FORMATS).iterdir()
    waiting = [*_MAKE_EXAMPLES, *(f"{_FORMATS}.{file.name[:-3]}" for file in formats if file.name.endswith(".py"))]
    while waiting:
        name = waiting.pop().removesuffix(".__init__")
        if name not in texts and name not in _WITHOUT_EFFECT:
            texts[name] = text = _source_of(name)
            imports = re.findall(rb"^\s*from (ecgmoe_edge\.[\w.]+) import", text, re.MULTILINE)
            waiting += [found.decode() for found in imports]
    return dict(sorted(texts.items()))


def _source_of(name: str) -> bytes:
    package, _, module = name.rpartition(".")
    file = resources.files(package).joinpath(f"{module}.py")
    return file.read_bytes() if file.is_file() else resources.files(name).joinpath("__init__.py").read_bytes()


def _source_digest() -> str:
    return hashlib.sha256(b"".join(front_end_modules().values())).hexdigest()


# Computed once, at import: a later change of a source file does not change the code of this process.
_FRONT_END_DIGEST = _source_digest()


def _settings(source: Source) -> list[object]:
    data = source.data
    added = None if source.noise is None else (str(source.noise[0]), source.noise[1])
    return [
        *(data.labels, data.rhythm, data.annotator, source.lead, data.beats_per_record, data.first_s),
        *(source.inverted, source.rate, added, source.together, data.without_af, source.record in data.maybe_af),
    ]


def _stem(source: Source) -> str:
    """Return the beginning of the name of a run's cache file; a run has only one file that is up to date."""
    run = re.sub(r"\W", "_", str(source.lead))
    run += ("i" if source.inverted else "") + (f"@{source.rate:g}" if source.rate else "")
    run += f"+{source.noise[0].name}{source.noise[1]:g}dB" if source.noise else ""
    return f"{source.data.name}-{source.record}-{run}"


def _examples_of_all(
    sources: Sequence[Source], cache: Path, jobs: int, clock: Clock, progress: bool
) -> tuple[dict[Source, Examples], dict[str, str]]:
    """Return the examples of each run, and the reason for each run that has none, by its name."""
    from tqdm import tqdm

    _remove_abandoned(cache)
    absent = [source for source in sources if not cache_path(source, cache).is_file()]
    failed: dict[Source, str | None] = {}
    with tqdm(total=len(absent), desc="examples", unit="record", disable=not progress or not absent) as bar:
        if jobs <= 1 or len(absent) <= 1:
            for source in absent:
                clock.check()
                failed[source] = _make(source, cache)
                bar.update()
        else:
            failed = _on_processes(absent, cache, jobs, clock, bar.update)
    made = {source: cached_examples(source, cache) for source in sources if failed.get(source) is None}
    unusable = {one.name: why for one, why in failed.items() if why is not None}
    # A lead that passes together with others may show no beat well.
    unusable |= {one.name: _NO_BEAT for one, examples in made.items() if not len(examples) and not one.together}
    return {source: examples for source, examples in made.items() if len(examples)}, unusable


def _on_processes(
    sources: Sequence[Source], cache: Path, jobs: int, clock: Clock, made_one: Callable[[], object]
) -> dict[Source, str | None]:
    with worker_processes(min(jobs, len(sources))) as pool:
        futures = {pool.submit(_make, source, cache): source for source in sources}
        for future in as_completed(futures):
            future.result()
            clock.check()
            made_one()
        return {source: future.result() for future, source in futures.items()}


def _remove_abandoned(cache: Path) -> None:
    """Delete unfinished files of processes that were killed."""
    for unfinished in cache.glob("*.partial"):
        with suppress(OSError):
            if time.time() - unfinished.stat().st_mtime > _ABANDONED_S:
                unfinished.unlink()


def _make(source: Source, cache: Path) -> str | None:
    """Make the cache file of a run, and return the reason if that is not possible.

    The parent process reads the file, which is faster than sending arrays between processes.
    """
    try:
        examples = _examples_of(source)
    except (RecordError, SignalError) as reason:
        return str(reason)
    _store(examples, source, cache)
    return None
