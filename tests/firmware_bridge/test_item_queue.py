"""The queue between reader and consumer stays bounded and counts every lost sample."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ecgmoe_edge.firmware_bridge import (
    ConsumerLag,
    EndOfStream,
    LeadOffChange,
    LinkItem,
    LinkReconnect,
    LinkStall,
    SampleLoss,
    Samples,
)
from ecgmoe_edge.firmware_bridge.item_queue import ItemQueue


def samples(n: int) -> Samples:
    return Samples(np.zeros((1, n)), 0)


def drain(queue: ItemQueue) -> list[LinkItem]:
    items = []
    while (item := queue.get(timeout_s=0.0)) is not None:
        items.append(item)
    return items


def test_samples_that_do_not_fit_become_one_exact_loss_at_their_position() -> None:
    queue = ItemQueue(capacity=25, warn=False)
    for _ in range(5):
        queue.put(samples(10))
    assert isinstance(queue.get(0.0), Samples)
    queue.put(samples(10))
    kinds = drain(queue)
    assert [type(item) for item in kinds] == [Samples, SampleLoss, Samples]
    assert kinds[1] == SampleLoss(30, "host overflow")
    assert queue.lost_samples == 30


@given(
    st.lists(st.integers(1, 30) | st.sampled_from(["take", "link", "unknown", "off", "stall", "back"]), max_size=200)
)
def test_every_sample_is_returned_or_reported_and_the_queue_stays_bounded(actions: list[int | str]) -> None:
    queue = ItemQueue(capacity=50)
    put = got = lost_put = lost_got = unknown = 0
    others: dict[str, LinkItem] = {
        "unknown": SampleLoss(None, "restart"),
        "off": LeadOffChange((True,), ("II",)),
        "stall": LinkStall(1.0),
        "back": LinkReconnect(1.0, "tty"),
    }

    def account(item: LinkItem | None) -> None:
        nonlocal got, lost_got, unknown
        if isinstance(item, Samples):
            got += item.values.shape[1]
        elif isinstance(item, SampleLoss):
            lost_got += item.samples or 0
            unknown += item.samples is None

    for action in actions:
        if isinstance(action, int):
            put += action
            queue.put(samples(action))
        elif action == "take":
            account(queue.get(0.0))
        elif action == "link":
            lost_put += 3
            queue.put(SampleLoss(3, "link"))
        else:
            queue.put(others[action])
    waiting = drain(queue)
    assert len(waiting) <= 51 * 7  # at most 50 samples, and one of each other kind round each of them
    for item in waiting:
        account(item)
    assert got + lost_got == put + lost_put
    assert (unknown > 0) == ("unknown" in actions)


def test_losses_with_different_reasons_stay_separate_and_the_end_stays_last() -> None:
    queue = ItemQueue(capacity=10)
    for item in (
        SampleLoss(1, "link"),
        SampleLoss(2, "reconnect"),
        SampleLoss(4, "link"),
        SampleLoss(None, "link"),
        EndOfStream(7),
    ):
        queue.put(item)
    assert drain(queue) == [SampleLoss(5, "link"), SampleLoss(2, "reconnect"), SampleLoss(None, "link"), EndOfStream(7)]


def test_a_slow_consumer_is_warned_once_before_anything_is_lost() -> None:
    queue = ItemQueue(capacity=100)
    for _ in range(9):
        queue.put(samples(10))
    assert queue.get(0.0) == ConsumerLag(50, 100), "it overtakes what waits"
    assert queue.lost_samples == 0
    assert all(isinstance(item, Samples) for item in drain(queue))


def test_a_consumer_that_falls_behind_again_is_warned_again() -> None:
    queue = ItemQueue(capacity=100)
    for _ in range(3):
        for _ in range(6):
            queue.put(samples(10))
        assert [type(item) for item in drain(queue)].count(ConsumerLag) == 1


def test_a_loss_that_is_a_lower_bound_stays_one_when_merged() -> None:
    queue = ItemQueue(capacity=10)
    queue.put(SampleLoss(3, "link", at_least=True))
    queue.put(SampleLoss(4, "link"))
    assert drain(queue) == [SampleLoss(7, "link", at_least=True)]
