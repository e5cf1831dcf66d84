"""Processes many records in one or several processes; a record that cannot be used is reported and skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import as_completed
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from ecgmoe_edge.errors import RecordError, SignalError, UsageError
from ecgmoe_edge.streaming.beat_model import BeatModel
from ecgmoe_edge.worker_processes import worker_processes

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
LoadModel: TypeAlias = Callable[[Path], BeatModel]  # a module-level function, so that worker processes can import it
OnRecord: TypeAlias = Callable[[str, int, int, str | None], None]  # name, records done, records in all, skip reason


@dataclass(frozen=True)
class ModelFile:
    """The file or folder of a model and the function that loads it."""

    path: Path | None = None  # None: no model, detect R peaks only
    load: LoadModel | None = None  # None: load it as a bundle

    def open(self) -> BeatModel | None:
        """Load the model; None if there is none."""
        if self.path is None:
            return None
        if self.load is not None:
            return self.load(self.path)
        from ecgmoe_edge.runtime.bundle import load_bundle

        return load_bundle(self.path)


@dataclass(frozen=True)
class Outcomes(Generic[Outcome]):
    """Results by record name, in the order of the records, and the reasons of the skipped records."""

    results: Mapping[str, Outcome] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)


def run_records(
    items: Mapping[str, Item],
    work: Callable[[Item, BeatModel | None], Outcome],
    model: ModelFile,
    *,
    jobs: int = 1,
    on_record: OnRecord | None = None,
) -> Outcomes[Outcome]:
    """Call `work` for every record.

    Args:
        items: first argument of `work` for each record, by name.
        work: processes one record; for more than one job a module-level function or a `partial` of one.
        model: loaded once in each process.
        jobs: number of processes.
        on_record: called in this process after each record.

    Returns:
        The results, and the records that raised RecordError or SignalError.

    Raises:
        UsageError: `jobs` is less than one.
        RecordError: no record could be used.
        BundleError, ModelError, MissingExtra: the model cannot be loaded.
        WorkerError: the system ended a worker process.
    """
    if jobs < 1:
        raise UsageError(f"{jobs} jobs cannot run anything. Give --jobs 1 or more.")
    done: dict[str, Outcome] = {}
    skipped: dict[str, str] = {}
    for name, outcome, reason in _run(items, work, model, min(jobs, len(items))):
        if reason is not None:
            skipped[name] = reason
        else:
            done[name] = outcome
        if on_record is not None:
            on_record(name, len(done) + len(skipped), len(items), reason)
    if not done:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in list(skipped.items())[:3])
        raise RecordError(f"None of {len(skipped)} records could be scored. {reasons}")
    return Outcomes(
        {name: done[name] for name in items if name in done},
        {name: skipped[name] for name in items if name in skipped},
    )


def _run(
    items: Mapping[str, Item], work: Callable[[Item, BeatModel | None], Outcome], model: ModelFile, jobs: int
) -> Iterator[tuple[str, Outcome, str | None]]:
    opened = model.open()  # also if workers load their own copy: a bad model is reported at once
    if jobs <= 1:
        for name, item in items.items():
            yield name, *_outcome_or_reason(item, work, opened)
        return
    with worker_processes(jobs) as pool:
        futures = {pool.submit(_in_worker, item, work, model): name for name, item in items.items()}
        for future in as_completed(futures):
            yield futures[future], *future.result()


def _in_worker(
    item: Item, work: Callable[[Item, BeatModel | None], Outcome], model: ModelFile
) -> tuple[Outcome, str | None]:
    return _outcome_or_reason(item, work, _open_once(model))


@lru_cache(maxsize=1)
def _open_once(model: ModelFile) -> BeatModel | None:
    return model.open()  # the model cannot change while a worker process exists


def _outcome_or_reason(
    item: Item, work: Callable[[Item, BeatModel | None], Outcome], model: BeatModel | None
) -> tuple[Outcome, str | None]:
    try:
        return work(item, model), None
    except (RecordError, SignalError) as reason:
        return None, str(reason)  # type: ignore[return-value]  # callers ignore the outcome if there is a reason
