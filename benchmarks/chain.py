"""The steps of the compression chain as models to evaluate: teacher, float student, merged, fake-quantized, files.

The answers of a model on the validation records are cached on disk under a digest of model and examples, so a second
run takes seconds. `python benchmarks/compression.py` and `python -m experiments.recalibration` use it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ecgmoe_edge.contract import INPUTS
from ecgmoe_edge.records.splits import data_folder
from ecgmoe_edge.training.augment import Batch
from ecgmoe_edge.training.cache import cache_path, cached_examples
from ecgmoe_edge.training.config import load_config
from ecgmoe_edge.training.examples import Examples, join
from ecgmoe_edge.training.sources import divide
from ecgmoe_edge.training.validate import Run, Validation, clean_batches, predict, validate

#: Data sets of the shipped configuration and the names of their validation records.
SPLITS = {"mitdb": "ds1-val", "svdb": "svdb-val", "cinc2017": "cinc-val"}
#: The splits that have beat labels.
BEAT_SPLITS = ("ds1-val", "svdb-val")

#: Outputs of a model on one split by their names, (beats, width) each.
Answers = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Step:
    """A model of the chain."""

    name: str
    content: bytes  # weights or file that determine the answers
    start: Callable[[], Run]  # called only if no answers are cached


class ValidationSets:
    """The validation examples and the cached answers of models on them."""

    def __init__(self, examples: Mapping[str, Examples], digests: Mapping[str, str], kept: Path) -> None:
        self.examples = examples
        self._digests = digests
        self._kept = kept

    @staticmethod
    def of(
        data: Path | None, cache: Path, kept: Path, splits: tuple[str, ...] = tuple(SPLITS.values())
    ) -> ValidationSets:
        """Examples of the validation records in the folder `data` (None: that of ECGMOE_DATA), from the front end
        or from `cache`.

        Raises:
            RecordError: there is no such folder, or a record is missing or cannot be read.
        """
        folder = data_folder(data)
        examples, digests = {}, {}
        for settings in load_config().data:
            split = SPLITS.get(settings.name)
            if split in splits:
                sources = divide(settings, folder).validation
                examples[split] = join([cached_examples(source, cache) for source in sources])
                digests[split] = _digest(*(cache_path(source, cache).name.encode() for source in sources))
        return ValidationSets(examples, digests, kept)

    def answers(self, step: Step) -> dict[str, Answers]:
        """The answers of a model on every split."""
        found: dict[str, Answers] = {}
        run: Run | None = None
        for split, examples in self.examples.items():
            path = self._kept / f"{_digest(step.name.encode(), step.content, self._digests[split].encode())[:24]}.npz"
            if path.is_file():
                with np.load(path, allow_pickle=False) as file:
                    found[split] = {name: file[name] for name in file.files}
                continue
            run = run or step.start()
            found[split] = predict(run, clean_batches(examples))
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, allow_pickle=False, **found[split])
        return found

    def validations(self, step: Step) -> dict[str, Validation]:
        """Scores of a model on every split, after the decision rule."""
        return {split: self._validation(split, answers) for split, answers in self.answers(step).items()}

    def _validation(self, split: str, answers: Answers) -> Validation:
        given = {name: torch.from_numpy(values) for name, values in answers.items()}
        everything = next(
            iter(clean_batches(self.examples[split], size=1))
        )  # one batch is enough: the answers are known
        return validate(lambda _: given, self.examples[split], batches=[everything])

    def f1(self, step: Step, label: str) -> float | None:
        """F1 of a beat class, per cent, the mean of the splits that have beat labels."""
        scores = [one.decided.get(label) for name, one in self.validations(step).items() if name in BEAT_SPLITS]
        known = [score.f1 for score in scores if score is not None and score.f1 is not None]
        return sum(known) / len(known) if known else None


def on_batches(infer: Callable[[Answers], Answers]) -> Run:
    """A file's engine, or a bundle's `infer`, as a function of batches."""

    def run(batch: Batch) -> dict[str, torch.Tensor]:
        arrays = (tensor.numpy() for tensor in batch.student_inputs())
        outputs = infer(dict(zip(INPUTS, arrays, strict=True)))
        return {name: torch.from_numpy(np.asarray(values)) for name, values in outputs.items()}

    return run


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()
