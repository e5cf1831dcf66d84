"""Examples of whole data sets, made on several processes and kept on disk, one file a record.

A file's name holds a digest of all that its content depends on: the source text of the front end, the data set's
settings, and size and time of the record's own files. What no longer fits is made anew, never used.
"""

from __future__ import annotations

import glob
import hashlib
import re
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import resources
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ecgmoe_edge.durable_files import replace_file
from ecgmoe_edge.errors import RecordError, SignalError, UsageError
from ecgmoe_edge.training.config import TrainingConfig
from ecgmoe_edge.training.examples import ARRAYS, Examples, examples_of, from_arrays, join
from ecgmoe_edge.training.limits import Clock
from ecgmoe_edge.training.sources import Source, divide
from ecgmoe_edge.training.survey import Survey, listed, survey

_MAKES_EXAMPLES = "ecgmoe_edge.training.examples"  # and all that it imports of this package
_FORMATS = "ecgmoe_edge.records.formats"  # found by the registry, which no import statement shows
_WITHOUT_EFFECT = ("ecgmoe_edge.errors", "ecgmoe_edge.streaming.events")  # name things, compute nothing
_ABANDONED_S = 3600.0  # a half-written file of that age belongs to no running process
_NO_BEAT = "The front end finds no beat in it."
_LAYOUT = 1  # of the cached files; raised when the fields of Examples change their meaning


@dataclass(frozen=True)
class ExampleSets:
    """All examples of a run. Validation is kept apart by data set, `mitdb` and so on."""

    fit: Examples
    validation: dict[str, Examples]
    left_out: Mapping[str, str] = field(default_factory=dict)  # "set/record" -> why

    def digest(self) -> str:
        """Short digest of every number and name in them: a fit on corrected labels, say, is another run."""
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
    """Examples of every data set of the configuration, from the cache where it still fits.

    Before the long work every record that is not in the cache is judged. What cannot be used is left out with its
    reason: a record that cannot be read, has no annotations, a rate that the front end does not take, no signal, or
    beats to learn and shows none.

    Args:
        config: what to read.
        data_dir: folder that holds the data sets' folders.
        cache: folder for the cached examples; made if absent. It holds parts of the recordings.
        jobs: processes.
        clock: how long it may take; None for ever.
        progress: show a progress bar on stderr.
        strict: refuse where a record would be left out.
        on_survey: called with what is left out, before the long work and once more if that finds more.

    Raises:
        RecordError: a table cannot be read, the cache cannot be written, or a record would be left out and `strict`.
        UsageError: the division into fit and validation is not possible, or nothing is left to fit on.
        OutOfTime: the clock ended; what was made is in the cache.
    """
    clock = clock or Clock()
    divided = [divide(data, data_dir) for data in config.data]
    found = survey(divided, partial(_is_made, cache=cache), jobs=jobs, clock=clock)
    _report(found, strict, on_survey)
    sources = [source for division in found.divisions for source in (*division.fit, *division.validation)]
    made, useless = _all(sources, cache, jobs, clock, progress)
    if useless:
        found = replace(found, left_out={**found.left_out, **useless}, remarks={})
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
        raise RecordError(f"{listed(found.left_out)} Mend or remove them, or leave --strict out.")
    if on_survey is not None:
        on_survey(found)


def _is_made(source: Source, cache: Path) -> bool:
    try:
        return cache_path(source, cache).is_file()
    except RecordError:
        return False


def cached_examples(source: Source, cache: Path) -> Examples:
    """Examples of one record, read from `cache` or made and written there."""
    path = cache_path(source, cache)
    if path.is_file():
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                arrays = {name: file[name] for name in ARRAYS}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            path.unlink(missing_ok=True)  # cut short by a full disk, say; made anew below
        else:
            return from_arrays(arrays, (source.name,))
    examples = examples_of(source)
    _keep(examples, source, cache)
    return examples


def _keep(examples: Examples, source: Source, cache: Path) -> None:
    path = cache_path(source, cache)
    _write(examples, path)
    for stale in cache.glob(f"{glob.escape(_stem(source))}-*.npz"):
        if stale != path:
            stale.unlink(missing_ok=True)


def _write(examples: Examples, path: Path) -> None:
    """Write the file of a run in one step.

    Raises:
        RecordError: it cannot be written; on a full disk, say.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(path) as partial, partial.open("wb") as written:
            arrays: dict[str, Any] = examples.arrays()
            np.savez(written, **arrays)
    except OSError as error:
        raise RecordError(
            f"The examples cannot be kept in {path.parent} ({error.strerror or error}). They take about 10 MB for half "
            "an hour of one lead: make room, or name another folder with --cache, and give the same command again."
        ) from error


def cache_path(source: Source, cache: Path) -> Path:
    """Where the examples of `source` belong; another file when anything that they depend on has changed.

    Raises:
        RecordError: there is no file of the record.
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
    """Digest of the source text of every module that shapes an example, as it was when this module was imported."""
    return _FRONT_END_DIGEST


def front_end_modules() -> dict[str, bytes]:
    """Source text of the modules that shape an example and its labels, by name: found by their imports."""
    texts: dict[str, bytes] = {}
    formats = resources.files(_FORMATS).iterdir()
    waiting = [_MAKES_EXAMPLES, *(f"{_FORMATS}.{file.name[:-3]}" for file in formats if file.name.endswith(".py"))]
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


# Once, at import: a source file that is edited later is not what this process runs.
_FRONT_END_DIGEST = _source_digest()


def _settings(source: Source) -> list[object]:
    data, further = source.data, [source.inverted, source.rate]
    return [
        *(data.labels, data.rhythm, data.annotator, source.lead, data.beats_per_record, data.first_s),
        *(further if any(further) else ()),
    ]


def _stem(source: Source) -> str:
    """Begins the name of the one file that a run has in the cache; anything else of that name is stale."""
    run = re.sub(r"\W", "_", str(source.lead))
    run += ("i" if source.inverted else "") + (f"@{source.rate:g}" if source.rate else "")
    return f"{source.data.name}-{source.record}-{run}"


def _all(
    sources: Sequence[Source], cache: Path, jobs: int, clock: Clock, progress: bool
) -> tuple[dict[Source, Examples], dict[str, str]]:
    """The examples of every run, and by its name why some give none, which only the whole of a record shows."""
    from tqdm import tqdm

    _sweep(cache)
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
    useless = {one.name: why for one, why in failed.items() if why is not None}
    useless |= {one.name: _NO_BEAT for one, examples in made.items() if not len(examples)}
    return {source: examples for source, examples in made.items() if len(examples)}, useless


def _on_processes(
    sources: Sequence[Source], cache: Path, jobs: int, clock: Clock, made_one: Callable[[], object]
) -> dict[Source, str | None]:
    # "spawn": a forked copy of a process that has used torch may hang in its thread pool.
    with ProcessPoolExecutor(min(jobs, len(sources)), mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(_make, source, cache): source for source in sources}
        try:
            for future in as_completed(futures):
                future.result()
                clock.check()
                made_one()
        except BaseException:
            pool.shutdown(cancel_futures=True)  # or thousands of records would be processed before anybody is told
            raise
        return {source: future.result() for future, source in futures.items()}


def _sweep(cache: Path) -> None:
    """Remove what processes that were killed have left half written."""
    for unfinished in cache.glob("*.partial"):
        with suppress(OSError):
            if time.time() - unfinished.stat().st_mtime > _ABANDONED_S:
                unfinished.unlink()


def _make(source: Source, cache: Path) -> str | None:
    """Why a run gives no examples; the parent reads the file: cheaper than sending arrays between processes."""
    try:
        examples = examples_of(source)
    except (RecordError, SignalError) as reason:
        return str(reason)
    _keep(examples, source, cache)
    return None
