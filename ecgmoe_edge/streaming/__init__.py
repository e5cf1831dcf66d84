"""The monitor of a live ECG: filters, R peaks, beat windows, features, labels, rhythm. numpy and scipy only.

All times in this package are counted in samples of the device, lost samples included. Three names have one meaning
everywhere:

- `arrived`: how many samples of the stream have arrived at a moment.
- `known_at`: how many samples had arrived when something became certain. What is certain with the arrival of sample s
  has `known_at` = s + 1. So what happened at sample r is reported `known_at - 1 - r` samples late.
- `due`: how many samples must have arrived before something can become certain or has to be done, as far as it is known
  by now. Until then, samples are only collected.
"""

from ecgmoe_edge.streaming.beats import BeatContext
from ecgmoe_edge.streaming.classifier import Answer, Classifier
from ecgmoe_edge.streaming.events import Event, to_json
from ecgmoe_edge.streaming.frontend import FrontEnd
from ecgmoe_edge.streaming.labeller import Labeller
from ecgmoe_edge.streaming.monitor import Monitor
from ecgmoe_edge.streaming.rhythm.limits import RhythmLimits

__all__ = ["Answer", "BeatContext", "Classifier", "Event", "FrontEnd", "Labeller", "Monitor", "RhythmLimits", "to_json"]
