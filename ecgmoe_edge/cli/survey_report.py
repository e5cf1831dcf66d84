"""Reports of `train` and `distill` about their recordings before training starts: skipped records and remarks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ecgmoe_edge.cli.output import say, say_remarks

if TYPE_CHECKING:
    from ecgmoe_edge.records.opening import LeadsWanted
    from ecgmoe_edge.records.recording import Remark
    from ecgmoe_edge.training.config import TrainingConfig
    from ecgmoe_edge.training.survey import Survey


@dataclass
class SurveyReport:
    """Prints each finding once, even if a command surveys the recordings several times, and keeps all for JSON."""

    left_out: dict[str, str] = field(default_factory=dict)  # "data set/record" -> reason
    remarks: dict[str, tuple[Remark, ...]] = field(default_factory=dict)

    def __call__(self, survey: Survey) -> None:
        """Print the new findings of a survey."""
        new = {name: why for name, why in survey.left_out.items() if name not in self.left_out}
        if new:
            say(f"Skipped: {len(new)} record{'s' if len(new) > 1 else ''} that cannot be used.")
        for name, why in new.items():
            say(f"  {name}: {why}")
        for name, remarks in survey.remarks.items():
            if name not in self.remarks and name not in self.left_out:
                say_remarks(name, remarks)
        if new:
            fit, validation = (
                len({one.path for division in survey.divisions for one in getattr(division, half)})
                for half in ("fit", "validation")
            )
            say(f"Used: {fit} record{'s' if fit != 1 else ''} to fit, {validation} to validate.")
        self.left_out |= new
        self.remarks |= survey.remarks

    def to_json(self) -> dict[str, Any]:
        """The skipped records with reasons and the remarks of the others, for JSON."""
        from ecgmoe_edge.records.plausibility import remarks_json

        remarks = {name: remarks_json(each) for name, each in self.remarks.items()}
        return {"left_out": self.left_out, "remarks": remarks}


def with_leads(config: TrainingConfig, leads: LeadsWanted) -> TrainingConfig:
    """The configuration with other leads in every data set; None keeps the configured leads.

    Raises:
        UsageError: `leads` is "all", which is not the same for all recordings.
    """
    import msgspec

    from ecgmoe_edge.errors import UsageError

    if leads is None:
        return config
    if leads == "all":
        raise UsageError("Training uses each lead separately: name them, such as --leads II,V1 or --leads 0,1.")
    named = tuple(int(lead) if isinstance(lead, str) and lead.isdecimal() else lead for lead in dict.fromkeys(leads))
    data = tuple(msgspec.structs.replace(one, leads=named) for one in config.data)
    return msgspec.structs.replace(config, data=data)
