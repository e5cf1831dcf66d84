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
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ecgmoe_edge.durable_files import replace_file
from ecgmoe_edge.errors import RecordError
from ecgmoe_edge.training.config import TrainingConfig
from ecgmoe_edge.training.examples import ARRAYS, Examples, examples_of, from_arrays, join
from ecgmoe_edge.training.limits import Clock
from ecgmoe_edge.training.sources import Source, divide

_MAKES_EXAMPLES = "ecgmoe_edge.training.examples"  # and all that it imports of this package
_FORMATS = "ecgmoe_edge.records.formats"  # found by the registry, which no import statement shows
_WITHOUT_EFFECT = ("ecgmoe_edge.errors", "ecgmoe_edge.streaming.events")  # name things, compute nothing
_ABANDONED_S = 3600.0  # a half-written file of that age belongs to no running process
_LAYOUT = 1  # of the cached files; raised when the fields of Examples change their meaning


@dataclass(frozen=True)
class ExampleSets:
    """All examples of a run. Validation is kept apart by data set, `mitdb` and so on."""

    fit: Examples
    validation: dict[str, Examples]

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
) -> ExampleSets:
    """Examples of every data set of the configuration, from the cache where it still fits.

    Args:
        config: what to read.
        data_dir: folder that holds the data sets' folders.
        cache: folder for the cached examples; made if absent. It holds parts of the recordings.
        jobs: processes.
        clock: how long it may take; None for ever.
        progress: show a progress bar on stderr.

    Raises:
        RecordError: a record or table cannot be read, or the cache cannot be written.
        UsageError: the division into fit and validation is not possible.
        OutOfTime: the clock ended; what was made is in the cache.
    """
    divisions = [divide(data, data_dir) for data in config.data]
    sources = [source for division in divisions for source in (*division.fit, *division.validation)]
    made = dict(zip(sources, _all(sources, cache, jobs, clock or Clock(), progress), strict=True))
    fit = join([made[source] for division in divisions for source in division.fit])
    validation = {
        data.name: join([made[source] for source in division.validation])
        for data, division in zip(config.data, divisions, strict=True)
        if division.validation
    }
    return ExampleSets(fit, validation)


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
    _write(examples, path)
    for stale in cache.glob(f"{glob.escape(_stem(source))}-*.npz"):
        if stale != path:
            stale.unlink(missing_ok=True)
    return examples


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
    digest.update(f"{_LAYOUT} {source.path.name in source.data.without_beat_labels}".encode())
    digest.update(msgspec.json.encode([_settings(source), source.facts]))
    beside = source.path.parent.glob(f"{glob.escape(source.path.name)}.*")
    files = [path for path in (source.path, *sorted(beside)) if path.is_file()]
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
    return f"{source.data.name}-{source.path.name}-{run}"


def _all(sources: Sequence[Source], cache: Path, jobs: int, clock: Clock, progress: bool) -> list[Examples]:
    from tqdm import tqdm

    _sweep(cache)
    absent = [source for source in sources if not cache_path(source, cache).is_file()]
    with tqdm(total=len(absent), desc="examples", unit="record", disable=not progress or not absent) as bar:
        if jobs <= 1 or len(absent) <= 1:
            for source in absent:
                clock.check()
                _make(source, cache)
                bar.update()
        else:
            _on_processes(absent, cache, jobs, clock, bar.update)
    return [cached_examples(source, cache) for source in sources]


def _on_processes(
    sources: Sequence[Source], cache: Path, jobs: int, clock: Clock, made_one: Callable[[], object]
) -> None:
    # "spawn": a forked copy of a process that has used torch may hang in its thread pool.
    with ProcessPoolExecutor(min(jobs, len(sources)), mp_context=get_context("spawn")) as pool:
        futures: list[Future[None]] = [pool.submit(_make, source, cache) for source in sources]
        try:
            for future in as_completed(futures):
                future.result()
                clock.check()
                made_one()
        except BaseException:
            pool.shutdown(cancel_futures=True)  # or thousands of records would be worked off before anybody is told
            raise


def _sweep(cache: Path) -> None:
    """Remove what processes that were killed have left half written."""
    for partial in cache.glob("*.partial"):
        with suppress(OSError):
            if time.time() - partial.stat().st_mtime > _ABANDONED_S:
                partial.unlink()


def _make(source: Source, cache: Path) -> None:
    cached_examples(source, cache)  # the parent reads the file: cheaper than sending arrays between processes
