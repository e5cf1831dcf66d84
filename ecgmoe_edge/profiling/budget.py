"""Compares measured figures with the limits of the device profile that a bundle was made for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from ecgmoe_edge.device_profiles import Profile, list_profiles, load_profile
from ecgmoe_edge.errors import GateFailed, ProfileError

if TYPE_CHECKING:
    from ecgmoe_edge.profiling.report import ProfileReport

NOT_MEASURED: Final = "not measured"
Verdict = Literal["within", "over", "not measured"]


@dataclass(frozen=True)
class Limit:
    """One limit of a profile, and the value measured on this machine."""

    name: str
    value: float | None  # None if it was not measured
    limit: float
    unit: str
    sense: Literal["at most", "at least"]
    verdict: Verdict
    why: str = ""  # why it was not measured

    @classmethod
    def of(
        cls,
        name: str,
        value: float | None,
        limit: float,
        unit: str,
        sense: Literal["at most", "at least"] = "at most",
        why: str = "",
    ) -> Limit:
        """Compare a value with its limit. A value equal to the limit is within.

        >>> Limit.of("inference p95", 2.0, 5.0, "ms").verdict
        'within'
        """
        if value is None:
            return cls(name, None, limit, unit, sense, NOT_MEASURED, why)
        within = value <= limit if sense == "at most" else value >= limit
        return cls(name, value, limit, unit, sense, "within" if within else "over")


@dataclass(frozen=True)
class Budget:
    """The limits of one profile with their verdicts on this machine; empty if the profile is unknown."""

    profile: str
    machine: str  # the machine that the verdicts are for, in words
    limits: tuple[Limit, ...]

    @property
    def exceeded(self) -> tuple[Limit, ...]:
        """The limits that are exceeded."""
        return tuple(limit for limit in self.limits if limit.verdict == "over")

    def to_json(self) -> list[dict[str, Any]]:
        """One mapping per limit. A value that was not measured is "not measured"."""
        return [{**asdict(each), "value": NOT_MEASURED if each.value is None else each.value} for each in self.limits]

    def lines(self) -> Iterator[str]:
        """One line per limit: measured value, limit, verdict."""
        yield f"budget      of the profile {self.profile}"
        yield f"            {self.machine}"
        for each in self.limits:
            value = NOT_MEASURED if each.value is None else f"{_number(each.value)} {each.unit}"
            limit = f"{each.sense} {_number(each.limit)} {each.unit}"
            verdict = f"({each.why})" if each.verdict == NOT_MEASURED else each.verdict
            yield f"  {each.name:<18}{value:<18}{limit:<24}{verdict}"

    def enforce(self) -> None:
        """Check that all limits are kept.

        Raises:
            GateFailed: a limit is exceeded.
            ProfileError: there are no limits, because the profile is unknown.
        """
        if not self.limits:
            raise ProfileError(f"The budget of the bundle's profile {self.profile} is {self.machine}.")
        if self.exceeded:
            over = "; ".join(
                f"{each.name} {_number(each.value or 0.0)} {each.unit}, {each.sense} {_number(each.limit)}"
                for each in self.exceeded
            )
            raise GateFailed(
                f"On this machine the budget of the profile {self.profile} is exceeded: {over}. Measure again with "
                "nothing else running, export a narrower student, or set the limits that the board needs."
            )


def budget_of(report: ProfileReport, profile: Profile | None = None) -> Budget:
    """Compare a report with the limits of a device profile.

    Args:
        report: of `profile_bundle`.
        profile: None: the profile that the bundle names.
    """
    named = str(report.bundle["profile"])
    if profile is None and named not in list_profiles():
        return Budget(
            named,
            "unknown: this program has no profile of that name, so give its TOML file with --profile",
            (),
        )
    chosen = profile or load_profile(named)
    return Budget(chosen.name, _machine(chosen, report.machine.architecture), tuple(_limits(report, chosen)))


def _limits(report: ProfileReport, profile: Profile) -> Iterator[Limit]:
    latency = profile.latency
    none = "no beat was detected"
    yield Limit.of("inference p95", report.stages["inference"].p95, latency.inference_ms_p95, "ms", why=none)
    yield Limit.of("label delay p95", report.label_delay_ms_p95, latency.label_delay_ms_p95, "ms", why=none)
    yield Limit.of("real time", report.real_time_factor, latency.real_time_factor, "times", "at least")
    if profile.runtime.engine == "tflite-micro":
        peak, why = None, "the limit concerns the tensor arena, which the export measures"
    else:
        peak = None if report.peak_memory_mib is None else 1024 * report.peak_memory_mib
        why = "this system does not report it"
    yield Limit.of("peak memory", peak, profile.memory.peak_kib, "KiB", why=why)


def _machine(profile: Profile, here: str) -> str:
    wanted = profile.board.architecture
    if wanted == "any":
        return "judged on this machine"
    if wanted != {"AMD64": "x86_64", "arm64": "aarch64"}.get(here, here):
        return f"judged on this machine ({here}), which is not the board: {profile.board.name} ({wanted})"
    return f"judged on this machine ({here}); whether it is a {profile.board.name} was not checked"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
