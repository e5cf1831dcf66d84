"""The same work on many records, on one process or several; a record that cannot be used is told and left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from ecgmoe_edge.errors import RecordError, SignalError, UsageError
from ecgmoe_edge.streaming.beat_model import BeatModel

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
LoadModel: TypeAlias = Callable[[Path], BeatModel]  # a function of a module, so that workers can have it
OnRecord: TypeAlias = Callable[[str, int, int, str | None], None]  # name, done, of, why it was skipped


@dataclass(frozen=True)
class ModelFile:
    """What classifies the beats: a path, and how to load it."""

    path: Path | None = None  # None: nothing does, R peaks alone
    load: LoadModel | None = None  # None: as a bundle

    def open(self) -> BeatModel | None:
        """The model, loaded anew."""
        if self.path is None:
            return None
        if self.load is not None:
            return self.load(self.path)
        from ecgmoe_edge.runtime.bundle import load_bundle

        return load_bundle(self.path)


@dataclass(frozen=True)
class Outcomes(Generic[Outcome]):
    """What the records gave, in their order, and why some gave nothing."""

    of: Mapping[str, Outcome] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)


def run_records(
    items: Mapping[str, Item],
    work: Callable[[Item, BeatModel | None], Outcome],
    model: ModelFile,
    *,
    jobs: int = 1,
    on_record: OnRecord | None = None,
) -> Outcomes[Outcome]:
    """Do `work` on every record.

    Args:
        items: what the work takes, by the record's name.
        work: a function of a module, or a `partial` of one, where there is more than one job.
        model: loaded once a process.
        jobs: processes to spread the records over.
        on_record: called in this process as each record is done.

    Raises:
        UsageError: no job.
        RecordError: not one record could be used.
        BundleError, ModelError, MissingExtra: the model cannot be loaded.
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
    opened = model.open()  # here too where workers load it for themselves: a bad model is told at once
    if jobs <= 1:
        for name, item in items.items():
            yield name, *_outcome_or_reason(item, work, opened)
        return
    # spawn: a forked child inherits locks of whatever threads the parent runs
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(_in_worker, item, work, model): name for name, item in items.items()}
        try:
            for future in as_completed(futures):
                yield futures[future], *future.result()
        finally:  # after an error or an interrupt, what has not begun is not begun
            pool.shutdown(cancel_futures=True)


def _in_worker(
    item: Item, work: Callable[[Item, BeatModel | None], Outcome], model: ModelFile
) -> tuple[Outcome, str | None]:
    return _outcome_or_reason(item, work, _open_once(model))


@lru_cache(maxsize=1)
def _open_once(model: ModelFile) -> BeatModel | None:
    return model.open()  # a worker lives for one evaluation, in which no model changes


def _outcome_or_reason(
    item: Item, work: Callable[[Item, BeatModel | None], Outcome], model: BeatModel | None
) -> tuple[Outcome, str | None]:
    try:
        return work(item, model), None
    except (RecordError, SignalError) as reason:
        return None, str(reason)  # type: ignore[return-value]  # nobody looks at it beside a reason
