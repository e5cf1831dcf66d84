"""The front end of a live ECG: filter, R peaks, beat windows, features, monitor. numpy and scipy only."""

from ecgmoe_edge.streaming.events import Event, to_json
from ecgmoe_edge.streaming.frontend import BeatContext, FrontEnd
from ecgmoe_edge.streaming.monitor import Monitor

__all__ = ["BeatContext", "Event", "FrontEnd", "Monitor", "to_json"]
