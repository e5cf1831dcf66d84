"""A bundle must have the classes of each task in the order of `ecgmoe_edge.tasks`, as the decision rule reads them."""

from __future__ import annotations

from collections.abc import Mapping

from ecgmoe_edge.errors import BundleError
from ecgmoe_edge.tasks import TASK_CLASSES


def check_classes(classes: Mapping[str, tuple[str, ...]], where: str) -> None:
    """Raise BundleError, naming the task, unless each task is known and has its classes in their order."""
    for task, names in classes.items():
        if task not in TASK_CLASSES:
            raise BundleError(
                f"{where} has the task {task}, which this version does not know: it knows {', '.join(TASK_CLASSES)}. "
                "Install the version of ecgmoe-edge that made it, or export the bundle again."
            )
        if names != TASK_CLASSES[task]:
            raise BundleError(
                f"{where} has the classes {', '.join(names)} for the task {task} where this version has "
                f"{', '.join(TASK_CLASSES[task])}, so its labels would be wrong. "
                "Install the version of ecgmoe-edge that made it, or export the bundle again."
            )
