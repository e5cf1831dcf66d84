"""Findings about a machine: what was found, whether something is wrong, and how to mend it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

#: ok; remark: something works less well than it could; problem: nothing can run before it is mended.
Status = Literal["ok", "remark", "problem"]


@dataclass(frozen=True)
class Finding:
    """One point that was checked.

    Attributes:
        name: the point.
        status: whether something is wrong.
        text: what was found.
        mend: what to do; None if nothing is wrong.
    """

    name: str
    status: Status
    text: str
    mend: str | None = None


@dataclass(frozen=True)
class Diagnosis:
    """All findings about a machine."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no problem; remarks are allowed."""
        return self.count("problem") == 0

    def count(self, status: Status) -> int:
        """Number of findings of a status."""
        return sum(finding.status == status for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """The findings, ready for JSON."""
        return {"findings": [asdict(finding) for finding in self.findings], "ok": self.ok}

    def render_text(self) -> str:
        """The findings, one line each; the mend is in the line below."""
        width = max(len(finding.name) for finding in self.findings)
        lines = []
        for finding in self.findings:
            lines.append(f"{finding.status:<7}  {finding.name:<{width}}  {finding.text}")
            if finding.mend:
                lines.append(f"{'':<7}  {'':<{width}}  mend: {finding.mend}")
        return "\n".join(lines)
