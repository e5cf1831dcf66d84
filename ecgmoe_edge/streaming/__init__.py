"""The front end of a live ECG: filter, R peaks, beat windows, features, monitor. numpy and scipy only."""

from ecgmoe_edge.streaming.beats import BeatContext
from ecgmoe_edge.streaming.classifier import Answer, Classifier
from ecgmoe_edge.streaming.events import Event, to_json
from ecgmoe_edge.streaming.frontend import FrontEnd
from ecgmoe_edge.streaming.labeller import Labeller
from ecgmoe_edge.streaming.monitor import Monitor
from ecgmoe_edge.streaming.rhythm.limits import RhythmLimits

__all__ = ["Answer", "BeatContext", "Classifier", "Event", "FrontEnd", "Labeller", "Monitor", "RhythmLimits", "to_json"]
