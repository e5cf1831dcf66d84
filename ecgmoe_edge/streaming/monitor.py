"""The live monitor: samples in, events out, beat by beat. It connects front end, classifier and labeller.

The stages run in Python (the numpy reference) or in C, with the same events (`engines`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecgmoe_edge.errors import SignalError
from ecgmoe_edge.streaming.beat_model import BeatModel
from ecgmoe_edge.streaming.classifier import Classifier
from ecgmoe_edge.streaming.engines import choose_engine
from ecgmoe_edge.streaming.events import Event, GapReason, LayerSwitch, LeadOff
from ecgmoe_edge.streaming.frontend import FrontEnd
from ecgmoe_edge.streaming.input_checks import check_flag, check_lead_off, check_leads, check_loss, check_samples
from ecgmoe_edge.streaming.labeller import Labeller
from ecgmoe_edge.streaming.patient.own_layer import PatientLayer
from ecgmoe_edge.streaming.reference_stages import ReferenceStages
from ecgmoe_edge.streaming.rhythm.limits import RhythmLimits
from ecgmoe_edge.streaming.signal.filters import check_rate
from ecgmoe_edge.streaming.signal.mains import AUTO, MainsChoice
from ecgmoe_edge.streaming.totals import StreamTotals

if TYPE_CHECKING:
    from ecgmoe_edge.streaming.c_engine.front_end import CFrontEnd
    from ecgmoe_edge.streaming.c_engine.stages import CStages


class Monitor:
    """Beat-by-beat monitoring of a stream.

    Every method returns the events that became certain, in order. Any chunking of the stream gives the same events,
    except for `compute_ms`.

    The stages can be used separately, instead of these methods: `front_end` gives beats and breaks of the signal,
    `classifier` (None without a model) the outputs of the model, and `labeller` the events. The outputs of the model do
    not affect the front end, so beats may be collected between the stages and classified in batches. This `labeller` is
    always that of the reference.

    Args:
        bundle: the model, from `load_bundle`; None for R peaks only, without labels.
        fs: sampling rate of the device, 100-1000 Hz.
        leads: names of the rows of the samples, all different. R peaks are detected in all leads together; the first
            two that show a beat well are classified.
        invert: whether to invert all leads, for swapped electrodes.
        mains: "auto" for a notch while hum is measured, which a `Mains` event reports; 50 or 60 for a constant notch;
            None for none.
        limits: limits of the rhythm alarms: pause, asystole, heart rate and V run.
        layer: the patient's own layer, from `load_patient_layer`; None for the shared model alone.
        engine: "c" or "numpy"; None for the variable ECGMOE_ENGINE, or the C engine if this installation has it. What
            the C engine has no room for runs in numpy.

    Attributes:
        engine: the engine that runs.
        stages: what `push` runs, without checks and totals: `detect` is the front end, `label` the rest.
        engine_reason: why it is not the C engine; None if it is, or if numpy was asked for.

    Raises:
        SignalError: an input that cannot be used, in the constructor or in a method; the call then changes nothing.
        UsageError: an unknown engine, or one that this installation does not have.
    """

    def __init__(
        self,
        bundle: BeatModel | None,
        fs: float,
        leads: Sequence[str] = ("II",),
        invert: bool = False,
        *,
        mains: MainsChoice = AUTO,
        limits: RhythmLimits | None = None,
        layer: PatientLayer | None = None,
        engine: str | None = None,
    ) -> None:
        self._leads = check_leads(leads)
        self.classifier = Classifier(bundle) if bundle is not None else None
        self._invert, self._mains, self._limits = check_flag("invert", invert), mains, limits
        if layer is not None:
            if bundle is None:
                raise SignalError("The patient's layer needs its model: give the bundle that it was fitted for.")
            layer.check_stream(self._leads, invert=self._invert)
        self._layer = layer
        self._layer_wanted = layer is not None
        context = self.classifier is not None and self.classifier.context > 0
        self._fs = check_rate(fs)
        choice = choose_engine(engine, leads=len(self._leads), fs=self._fs, context=context)
        self.engine, self.engine_reason = choice.name, choice.reason
        self._begin()

    @property
    def leads(self) -> tuple[str, ...]:
        """Names of the rows of the samples."""
        return self._leads

    @property
    def fs(self) -> float:
        """Sampling rate of the device, Hz."""
        return self._fs

    def _begin(self) -> None:
        model = self.classifier.model if self.classifier else None
        self.labeller = self.new_labeller(self._layer)
        self.front_end: FrontEnd | CFrontEnd
        self.stages: ReferenceStages | CStages
        if self.engine == "c":
            self.front_end, self.stages = self._stages_in_c()
        else:
            self.front_end = FrontEnd(
                self._fs,
                self._leads,
                mains=self._mains,
                invert=self._invert,
                grid=self.classifier.grid if self.classifier else None,
                context=self.classifier.context if self.classifier else 0,
                limits=self._limits,
            )
            self.stages = ReferenceStages(self.front_end, self.classifier, self.labeller)
        self._layer_reported: bool | None = None if self._layer else False  # None: its use is still to be reported
        self._totals = StreamTotals(self._fs, model.classes if model else {}, self.engine, self.engine_reason)

    def _stages_in_c(self) -> tuple[CFrontEnd, CStages]:
        # Imported here, since the reference alone does not need the constants of the C engine.
        from ecgmoe_edge.streaming.c_engine.front_end import CFrontEnd
        from ecgmoe_edge.streaming.c_engine.stages import CStages

        model = self.classifier.model if self.classifier else None
        front_end = CFrontEnd(
            self._fs,
            self._leads,
            mains=self._mains,
            invert=self._invert,
            peaks_only=model is None,
            limits=self._limits,
        )
        return front_end, CStages(front_end, model, self._leads, self._limits, self._layer)

    def new_labeller(self, layer: PatientLayer | None = None) -> Labeller:
        """Return a further labeller for the beats of this monitor's front end and classifier, without history."""
        model = self.classifier.model if self.classifier else None
        return Labeller(
            self._fs,
            model.classes if model else {},
            model.decision if model else None,
            self._limits,
            layer,
        )

    def use_patient_layer(self, active: bool) -> None:
        """Switch the patient's own layer on or off, from the next call of another method on.

        The events of that call begin with a `LayerSwitch`. Without the layer, beats get the labels that they would have
        got if there had never been one. This method may be called in another thread.

        Raises:
            SignalError: there is no layer to switch on.
        """
        if check_flag("active", active) and self._layer is None:
            raise SignalError("This monitor has no patient's layer to switch on: give it one with layer=.")
        self._layer_wanted = active

    def _switch_layer(self) -> list[Event]:
        """Apply what `use_patient_layer` asked for."""
        wanted = self._layer_wanted
        if wanted == self._layer_reported:
            return []
        self.stages.use_layer(wanted)
        self._layer_reported = wanted
        at = self.front_end.position
        return [LayerSwitch(at, at / self.fs, wanted)]

    def push(self, samples: NDArray[np.floating[Any] | np.integer[Any]]) -> list[Event]:
        """Take the next samples.

        Args:
            samples: (leads, n) in mV, of any real type; NaN for unusable samples. The array is not changed.
        """
        x = check_samples(samples, self._leads)
        switched = self._switch_layer()
        self._totals.received += x.shape[1]
        return [*switched, *self._counted(self.stages.push(x))]

    def gap(self, n_lost: int | None, reason: GapReason, *, at_least: bool = False) -> list[Event]:
        """Note that samples never arrived.

        Args:
            n_lost: number of samples; None if it is unknown.
            reason: why they are lost.
            at_least: `n_lost` is a lower limit.
        """
        lost = check_loss(n_lost, reason)
        limit = check_flag("at_least", at_least)
        switched = self._switch_layer()
        self._totals.lose(lost or 0, reason)
        return [*switched, *self._counted(self.stages.gap(lost, reason, at_least=limit))]

    def lead_off(self, mask: Sequence[bool] | NDArray[np.bool_]) -> list[Event]:
        """Set which leads are off, one flag for each lead; a lead that is off is not used."""
        off = check_lead_off(mask, self._leads)
        events = [*self._switch_layer(), *self._counted(self.stages.lead_off(off))]
        names = tuple(name for name, is_off in zip(self._leads, off, strict=True) if is_off)
        at = self.front_end.position
        return [*events, LeadOff(at, at / self.fs, names)]

    def flush(self) -> list[Event]:
        """End the stream: return the remaining events, and `End` with the totals."""
        switched = self._switch_layer()
        return [*switched, *self._counted(self.stages.flush()), self._totals.end()]

    def reset(self) -> None:
        """Forget stream and patient; the next sample is sample 0 of another patient."""
        self._begin()

    def _counted(self, events: list[Event]) -> list[Event]:
        self._totals.count(events)
        return events
