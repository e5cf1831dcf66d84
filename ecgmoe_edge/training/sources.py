"""The records of a data set, their division into fit and validation, and the labels of whole records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from ecgmoe_edge.errors import RecordError, UsageError
from ecgmoe_edge.records.annotations_alone import annotated_records
from ecgmoe_edge.records.databases import patient_of
from ecgmoe_edge.records.names import one_of_each_name, record_name
from ecgmoe_edge.records.recording import Sex, stated_facts
from ecgmoe_edge.records.registry import find_recordings, formats_in_folders, is_recording
from ecgmoe_edge.records.splits import hash_fraction, locate
from ecgmoe_edge.records.tables import cinc_rhythms, ptbxl_rows
from ecgmoe_edge.tasks import RHYTHM_CLASSES
from ecgmoe_edge.training.config import DataSet
from ecgmoe_edge.training.mimic import mimic_records

_SPLIT = "split:"
_Facts: TypeAlias = tuple[tuple[str, str | float], ...]


@dataclass(frozen=True)
class Source:
    """One run of a record through the front end: its leads, its variant, and the labels of the whole record.

    `facts` come from a table of the data set. They have priority over the facts in the file of the record.
    """

    data: DataSet
    path: Path  # accepted by `open_recording`
    patient: str
    lead: int | str = 0  # lead of the examples
    together: tuple[int | str, ...] = ()  # leads that pass through the front end together; empty: `lead` alone
    inverted: bool = False
    rate: float | None = None  # Hz; sampling rate that the record is resampled to; None keeps the original rate
    noise: tuple[Path, float] | None = None  # noise recording to add, and signal-to-noise ratio in dB
    facts: _Facts = ()  # pairs of task and class or value for the whole record

    @property
    def record(self) -> str:
        """Name of the record, without folder and extension."""
        return record_name(self.path)

    @property
    def name(self) -> str:
        """Name of the run: "set/record", and after a colon how it differs from the first lead, not inverted."""
        own = [f"lead={self.lead}"] if self.lead != self.data.leads[0] else []
        own += ["inverted"] if self.inverted else []
        own += [f"fs={self.rate:g}"] if self.rate else []
        own += [f"{self.noise[0].name} {self.noise[1]:g} dB"] if self.noise else []
        return f"{self.data.name}/{self.record}" + (":" + ",".join(own) if own else "")


@dataclass(frozen=True)
class Division:
    """The division of a data set by patient: no patient is in both parts, if the patients are known."""

    fit: tuple[Source, ...]  # all leads, and the inverted and resampled copies
    validation: tuple[Source, ...]  # the first lead, not inverted, at the original rate
    left_out: Mapping[str, str] = field(default_factory=dict)  # reason by "set/record", for recordings with equal names


def divide(data: DataSet, data_dir: Path) -> Division:
    """Divide the records of a data set into fit and validation.

    Args:
        data: the data set.
        data_dir: folder that contains the folder of the data set.

    Raises:
        RecordError: the folder, its table or a listed record does not exist.
        UsageError: no record is left to fit on, or a record is listed for both fit and validation.
    """
    sources, left_out = _all_sources(data, data_dir)
    validation = _chosen(data, data.validation, sources, data_dir)
    if data.validation_share:
        share = data.validation_share
        selected = {source.patient for source in sources.values() if _hash_fraction(source, source.patient) < share}
        validation = {name for name, source in sources.items() if source.patient in selected}
    rest = set(sources) - validation
    fit = rest if data.fit == "rest" else _chosen(data, data.fit, sources, data_dir)
    if not isinstance(data.fit, str) and not data.validation_share and fit & validation:
        raise UsageError(
            f"Data set {data.name!r}: {', '.join(sorted(fit & validation))} would be used for both fit and validation. "
            "Remove them from one of the two."
        )
    fit = (fit & rest) - set(data.leave_out)
    validation -= set(data.leave_out)
    held_out = {sources[name].patient for name in validation}
    fitting = [sources[name] for name in sorted(fit) if sources[name].patient not in held_out]
    if not fitting:
        raise UsageError(f"Data set {data.name!r} has no record left to fit on. Change fit, validation or leave_out.")
    if data.most_records and len(fitting) > data.most_records:
        selected_records = sorted(fitting, key=lambda source: _hash_fraction(source, source.record))
        fitting = sorted(selected_records[: data.most_records], key=lambda source: source.record)
    return Division(
        tuple(run for source in fitting for run in _runs(source, data_dir)),
        tuple(sources[name] for name in sorted(validation)),
        left_out,
    )


def _runs(source: Source, data_dir: Path) -> Iterator[Source]:
    """Yield each lead of a record, and its copies (`DataSet`), which a hash of its name selects."""
    data = source.data
    for lead in data.leads:
        run = replace(source, lead=lead, together=() if lead == data.leads[0] else data.leads)
        yield run
        if _hash_fraction(source, f"{source.record} {lead} inverted") < data.invert_share:
            yield replace(run, inverted=True)
        if data.rates and _hash_fraction(source, f"{source.record} {lead} rate") < data.rate_share:
            which = _hash_fraction(source, f"{source.record} {lead} which rate")
            yield replace(run, rate=data.rates[int(which * len(data.rates))])
        for snr_db in data.snr_db if data.noise else ():
            if _hash_fraction(source, f"{source.record} {lead} {snr_db:g} dB") < data.noise_share:
                which = _hash_fraction(source, f"{source.record} {lead} {snr_db:g} dB which noise")
                yield replace(run, noise=(data_dir / data.noise[int(which * len(data.noise))], snr_db))


def _hash_fraction(source: Source, what: str) -> float:
    """Return a fraction in [0, 1) that depends only on names, so that new records do not change the division."""
    return hash_fraction(f"{source.data.name}/{what}")


def _chosen(data: DataSet, names: tuple[str, ...], sources: dict[str, Source], data_dir: Path) -> set[str]:
    chosen: set[str] = set()
    for name in names:
        if name.startswith(_SPLIT):
            chosen |= {record_name(path) for path in locate(data_dir / data.folder, split=name.removeprefix(_SPLIT))}
        else:
            chosen.add(name)
    missing = sorted(chosen - set(sources))
    if missing:
        raise RecordError(
            f"Data set {data.name!r}: {data_dir / data.folder} lacks {', '.join(missing[:5])}"
            f"{f' and {len(missing) - 5} more' if len(missing) > 5 else ''}. "
            "Complete the download or change the configuration."
        )
    return chosen


def _all_sources(data: DataSet, data_dir: Path) -> tuple[dict[str, Source], dict[str, str]]:
    """Return the sources by record name, and the reason for each record that is left out because of an equal name."""
    folder = data_dir / data.folder
    if not folder.is_dir():
        raise RecordError(f"Data set {data.name!r}: there is no folder {folder}. Check --data and the configuration.")
    if data.labels == "ptbxl":
        return {source.record: source for source in _ptbxl(data, folder)}, {}
    if data.labels == "mimic-iv-ecg":
        return {source.record: source for source in _mimic(data, folder, data_dir)}, {}
    if data.labels == "rhythm-annotations":
        return _annotations_alone(data, folder), {}
    paths, of_same_name = one_of_each_name(find_recordings(folder))
    if not paths:
        raise RecordError(f"Data set {data.name!r}: {folder} contains no recording ({formats_in_folders()}).")
    left_out = {f"{data.name}/{name}": why for name, why in of_same_name.items()}
    first = data.leads[0]
    if data.labels == "beats":
        return {name: Source(data, path, patient_of(path), first) for name, path in paths.items()}, left_out
    rhythms = cinc_rhythms(folder)
    sources = {
        name: Source(data, path, name, first, facts=_facts(rhythm=rhythms[name]))
        for name, path in paths.items()
        if name in rhythms
    }
    return sources, left_out


def _annotations_alone(data: DataSet, folder: Path) -> dict[str, Source]:
    needs_signal = {
        "validation": data.validation,
        "validation_share": data.validation_share,
        "leads": data.leads != (0,),
        "invert_share": data.invert_share,
        "rates": data.rates,
    }
    given = [key for key, value in needs_signal.items() if value]
    if given:
        raise UsageError(
            f"Data set {data.name!r} has annotations without signals: omit {' and '.join(given)}. Validate on a data "
            "set that has signals."
        )
    return {name: Source(data, path, name) for name, path in annotated_records(folder, data.annotator).items()}


def _ptbxl(data: DataSet, folder: Path) -> list[Source]:
    sources = [
        Source(data, folder / row.record, row.patient, data.leads[0], facts=_facts(age=row.age, sex=row.sex))
        for row in ptbxl_rows(folder)
    ]
    present = [source for source in sources if is_recording(source.path)]
    if not present:
        raise RecordError(f"{folder} contains none of the records that its ptbxl_database.csv lists.")
    return present


def _mimic(data: DataSet, folder: Path, data_dir: Path) -> list[Source]:
    clinical = data_dir / data.clinical_folder if data.clinical_folder else folder
    return [
        Source(
            data,
            one.path,
            one.patient,
            data.leads[0],
            facts=_facts(age=one.age, sex=one.sex, potassium=one.potassium, rr=one.rr_s),
        )
        for one in mimic_records(folder, clinical, data.potassium_window_h)
    ]


def _facts(age: float | None = None, sex: Sex | None = None, **further: str | float | None) -> _Facts:
    return tuple(stated_facts(age, sex, **further).items())


def rhythm_index(label: str) -> int:
    """Return the index in RHYTHM_CLASSES of an MIT-BIH rhythm label: N, AFIB (AF), or "other" for all others."""
    return RHYTHM_CLASSES.index({"N": "N", "AFIB": "AF"}.get(label, "other"))
