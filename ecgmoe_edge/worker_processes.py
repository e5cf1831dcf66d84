"""Processes that share the records of one command between them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context

from ecgmoe_edge.errors import WorkerError


@contextmanager
def worker_processes(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of `jobs` processes for the `with` block; after an error or an interrupt, no further task is started.

    The processes are spawned, because a forked child inherits the locks of the parent's threads, such as those of
    torch.

    Raises:
        WorkerError: the system ended one of the processes.
    """
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        try:
            yield pool
        except BrokenProcessPool as error:
            raise WorkerError(
                "A worker process ended before its record was done. The usual cause is too little memory: repeat the "
                "command with fewer processes, such as --jobs 1."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)
