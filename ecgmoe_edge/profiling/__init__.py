"""Measures how fast a bundle runs on this machine, what resources it uses, and what the machine's sensors report."""

from ecgmoe_edge.profiling.budget import Budget, Limit, budget_of
from ecgmoe_edge.profiling.latency import profile_bundle
from ecgmoe_edge.profiling.report import ProfileReport, StageTimes, render_text

__all__ = ["Budget", "Limit", "ProfileReport", "StageTimes", "budget_of", "profile_bundle", "render_text"]
