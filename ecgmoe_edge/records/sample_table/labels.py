"""Interprets the text at the head of a table: names and units of columns, and the sampling rate and unit of all."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

COUNTS = frozenset({"count", "counts", "adu", "lsb", "adc", "digit", "digits", "raw", "du", "adcu"})

_VOLTAGES = {
    "v": "V", "volt": "V", "volts": "V", "mv": "mV", "millivolt": "mV", "millivolts": "mV", "uv": "uV", "mcv": "uV",
    "microvolt": "uV", "microvolts": "uV", "nv": "nV", "nanovolt": "nV", "nanovolts": "nV",
}  # fmt: skip
#: Unit of time -> seconds; clock times (mm:ss.mmm) need no unit.
SECONDS = {
    "s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0, "sek": 1.0,
    "ms": 1e-3, "msec": 1e-3, "msecs": 1e-3, "millis": 1e-3, "millisecond": 1e-3, "milliseconds": 1e-3,
    "us": 1e-6, "usec": 1e-6, "usecs": 1e-6, "micros": 1e-6, "microsecond": 1e-6, "microseconds": 1e-6,
    "min": 60.0, "minute": 60.0, "minutes": 60.0, "h": 3600.0, "hour": 3600.0, "hours": 3600.0,
    "ns": 1e-9, "nsec": 1e-9, "nanos": 1e-9, "nanosecond": 1e-9, "nanoseconds": 1e-9,
}  # fmt: skip
_OTHER_UNITS = frozenset(
    {"g", "mg", "m/s2", "m/s^2", "m/s²", "deg/s", "dps", "rad/s", "ut", "%", "bpm", "ohm", "kohm", "ω", "kω", "°c"}
    | {"mmhg", "l/min", "hz", "pa", "na", "ma", "ua", "a.u.", "au", "nu", "1"}
    | {"no_units", "no units", "unitless", "dimensionless"}
)
_CLOCK_FORM = re.compile(r"[hmsdy:./\- tf]{4,}\Z")
_MICRO = re.compile(r"[^\x00-\x7f]{1,2}(?=v$|s$)")  # any micro sign, including wrongly decoded ones
_BRACKETS = re.compile(r"(.*?)\s*[\[(]\s*([^\])]*?)\s*[\])]\s*\Z")
_SUFFIX = re.compile(r"(.+?)[_ ](mv|uv|[^\x00-\x7f]v|nv|s|sec|seconds|ms|msec|us|[^\x00-\x7f]s|ns)\Z", re.IGNORECASE)

_TIME_NAME = re.compile(
    r"(?:.*\b)?(?:t|.*time.*|time ?stamps?|date|datetime|timer|clock|elapsed.*|s|secs?|seconds?|ms|msecs?|millis|"
    r"milliseconds?|us|micros|microseconds?|ns|nanos|epoch.*|unix.*|uhrzeit|zeit.*|datum|temps|tiempo|tempo|fecha|hora)\Z"
)
_COUNTER_NAME = re.compile(
    r"(?:sample ?(?:index|number|no|nr|count|counter|id)?|samples|index|idx|counter|count|cnt|no|nr|n|#|row|seq"
    r"|sequence(?: number)?|packet(?: ?(?:number|counter|id|index))?|frame(?: ?(?:number|counter|index))?|unnamed: 0)\Z"
)
_NO_ECG_NAME = re.compile(
    r"(?:acc|accel|acceleration|accelerometer|gyro|gyroscope|mag|magnetometer)(?:[ _]?(?:channel.*|[xyz]|\d+))?\Z|"
    r"analog channel \d+\Z|other(?: \d+)?\Z|(?:event ?)?markers?\Z|trigger\Z|events?\Z|annotations?\Z|labels?\Z|"
    r"symbols?\Z|comments?\Z|notes?\Z|resp(?:iration)?\Z|spo2\Z|ppg\Z|pleth\Z|temp(?:erature)?\Z|battery\Z|"
    r"heart ?rate\Z|bpm\Z|rri?(?: intervals?)?\Z|ibi\Z|lead ?off\Z|lo[+-]?\Z|quality\Z|"
    r"e[ck]g (?:(?:heart ?)?rate|hr|quality|(?:[pqrst]|qrs) ?(?:peaks?|onsets?|offsets?)|phase.*|status.*|events?)\Z"
)
_LEAD_NAME = re.compile(
    r"(?:.*\b)?(?:i|ii|iii|avr|avl|avf|v[1-9]r?|mlii|mliii|mcl\d|cm\d|cc\d|vx|vy|vz|ecg.*|ekg.*|exg.*|lead(?!s\Z).*|es|as|ai|"
    r"ch(?:annel)? ?\d+|d[123]|nasa)\Z"
)

_PAIR = re.compile(r"\s*([^,;:=\t]*[^\W\d_][^,;:=\t]*?)\s*[,;:=\t]\s*(.*?)[\s,;]*\Z")
_RATE_KEY = re.compile(
    r"(?:.*(?:sampl|abtast|[ée]chantillon|muestre|campion|amostra|bemonster).*|"
    r"(?:data ?)?rate|fs|sfreq|srate|freq(?:uency)?)\Z"
)
_INTERVAL_KEY = re.compile(r".*(?:interval|period|intervall).*|(?:delta|d) ?t\Z")
_RATE_VALUE = re.compile(
    r"(\d+(?:[.,]\d+)?)\s*(k?)(?:(?:hz|hertz|hercios?|sps|samples?(?:/| per )s(?:ec(?:ond)?)?)(?:\b.*)?)?\Z"
)
_RATE_WITHIN = re.compile(r"\bsampl(?:e|ing)[ _]?(?:rate|frequency|freq)\b\W{1,6}(\d+(?:\.\d+)?)\s*(k?)(?:hz)?")
_STEP_WITHIN = re.compile(r"\s*[\"']?(\d+(?:\.\d+)?)\s*([a-z]+)\s*/\s*sample\b")  # written by BIOPAC
_INTERVAL_VALUE = re.compile(r"(\d+(?:[.,]\d+)?(?:e-?\d+)?)\s*([a-zµμ]+)?\Z")
_TYPE_NAME = re.compile(
    r"u?int\d*\Z|float\d*\Z|double\Z|single\Z|real\Z|integer\Z|numeric\Z|number\Z|datetime\d*\Z|str(?:ing)?\Z"
)
_UNIT_KEY = re.compile(r"(?:.*\b)?(?:units?|einheit(?:en)?|unit[ée]s?|unidad(?:es)?|unit[aà])\Z")
_LEAD_KEY = re.compile(r"(?:lead|ableitung|d[ée]rivation|derivaci[oó]n|derivazione|channel)\Z")


@dataclass(frozen=True)
class Preamble:
    """Properties that the lines above the samples state."""

    fs: tuple[float, ...] = ()  # all stated sampling rates, Hz
    unit: str | None = None  # a voltage or `count`
    lead: str | None = None
    openbci: bool = False


def known_unit(text: str) -> str | None:
    """The unit in a text in its standard spelling: V, mV, uV, nV, `count`, a unit of time or another common unit.

    Returns:
        The unit; "clock" for a format such as `hh:mm:ss`; None if the text is not a unit.
    """
    folded = _MICRO.sub("u", text.strip().strip("\"'[]()").strip().casefold())
    if folded in _VOLTAGES:
        return _VOLTAGES[folded]
    if folded in COUNTS:
        return "count"
    if folded in SECONDS or folded in _OTHER_UNITS:
        return folded
    return "clock" if ":" in folded and _CLOCK_FORM.match(folded) else None


def name_and_unit(label: str) -> tuple[str, str | None]:
    """Split the label of a column into name and unit.

    >>> name_and_unit("ECG (mV)")
    ('ECG', 'mV')
    """
    bracketed = _BRACKETS.match(label)
    if bracketed and (unit := known_unit(bracketed[2])):
        return bracketed[1].strip(" _-"), unit
    suffixed = _SUFFIX.match(label)
    if suffixed and not _BRACKETS.match(label):
        return suffixed[1].strip(" _-,/"), known_unit(suffixed[2])
    unit = known_unit(label) if len(label) > 1 else None  # a label that consists of the unit only
    return label, unit if unit in _VOLTAGES.values() or SECONDS.get(unit or "", 60.0) <= 1 else None


def is_units_row(cells: Iterable[str]) -> bool:
    """Whether a row above the samples consists of units only."""
    filled = [cell.strip().strip("\"'") for cell in cells]
    if filled and _UNIT_KEY.match(_folded(filled[0])):
        filled = filled[1:]
    filled = [cell for cell in filled if cell and cell not in ("-", "n/a", "N/A")]
    return bool(filled) and all(known_unit(cell) for cell in filled)


def is_types_row(cells: Iterable[str]) -> bool:
    """Whether a row above the samples consists of the data types of the columns."""
    filled = [cell.strip().strip("\"'").casefold() for cell in cells]
    return any(filled) and all(_TYPE_NAME.match(cell) for cell in filled if cell)


def names_time(label: str) -> bool:
    """Whether the label names a time column."""
    return bool(_TIME_NAME.match(_folded(name_and_unit(label)[0]))) or bool(_TIME_NAME.match(_folded(label)))


def names_counter(label: str) -> bool:
    """Whether the label names a counter of samples or packets."""
    return bool(_COUNTER_NAME.match(_folded(label)))


def names_lead(label: str) -> bool:
    """Whether the label names an ECG lead."""
    return bool(_LEAD_NAME.match(_folded(name_and_unit(label)[0])))


def names_other_signal(label: str) -> bool:
    """Whether the label names another signal that recorders store beside an ECG."""
    return bool(_NO_ECG_NAME.match(_folded(name_and_unit(label)[0])))


def names_heart_rate(label: str) -> bool:
    """Whether the label may name the heart rate; only meaningful if another column is named as an ECG."""
    return _folded(name_and_unit(label)[0]) in ("hr", "pulse", "pr")


def pair_of(line: str) -> tuple[str, str] | None:
    """Key and value of a line such as `Sample Rate,512 hertz` or `# rate: 360 Hz`; None for any other line."""
    pair = _PAIR.match(line.lstrip("%#/; \t"))
    return (pair[1].strip("\"' "), pair[2].strip("\"' ")) if pair else None


def states_rate_or_unit(line: str) -> bool:
    """Whether a line states a sampling rate, a unit or a lead."""
    stated = preamble_of([line])
    return bool(stated.fs or stated.unit or stated.lead)


def preamble_of(lines: Iterable[str]) -> Preamble:
    """Read sampling rates, unit and lead from the lines above the samples."""
    rates: list[float] = []
    unit: str | None = None  # a voltage or `count`
    lead: str | None = None
    openbci = False
    for line in lines:
        openbci = openbci or "openbci" in line.casefold()
        pair = pair_of(line)
        if (within := _rate_within(line.casefold())) is not None:
            rates.append(within)
            continue
        if pair is None:
            continue
        key, value = _folded(pair[0]), pair[1].strip()
        rate = _rate(key, value.casefold())
        if rate is not None:
            rates.append(rate)
        elif _UNIT_KEY.match(key) and known_unit(value) in (*_VOLTAGES.values(), "count"):
            unit = known_unit(value)
        elif _LEAD_KEY.match(key) and value and len(value) < 20:
            lead = value
    return Preamble(tuple(dict.fromkeys(rates)), unit, lead, openbci)


def _rate(key: str, value: str) -> float | None:
    bracketed = _BRACKETS.match(key)
    if bracketed:
        key, value = bracketed[1], f"{value} {bracketed[2]}" if value[-1:].isdigit() else value
    if _INTERVAL_KEY.match(key):
        interval = _INTERVAL_VALUE.match(value)
        scale = SECONDS.get((interval[2] or "").replace("µ", "u").replace("μ", "u")) if interval else None
        seconds = float(interval[1].replace(",", ".")) * scale if interval and scale else 0.0
        return 1 / seconds if seconds > 0 else None
    rate = _RATE_VALUE.match(value) if _RATE_KEY.match(key) else None
    stated = float(rate[1].replace(",", ".")) * (1000 if rate[2] else 1) if rate else 0.0
    return stated if stated > 0 else None


def _rate_within(line: str) -> float | None:
    if found := _RATE_WITHIN.search(line):
        return (float(found[1]) * (1000 if found[2] else 1)) or None
    step = _STEP_WITHIN.match(line)
    seconds = float(step[1]) * SECONDS.get(step[2], 0.0) if step else 0.0
    return 1 / seconds if seconds > 0 else None


def _folded(name: str) -> str:
    return re.sub(r"[\s_.]+", " ", name.casefold()).strip(" \"':-")
