"""How much a client may ask at once, and in a second."""

import pytest

from proxy.errors import TooManyRequests
from proxy.query.quota import Quota


class Clock:
    """A clock that tests turn."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def count_taken(quota: Quota, attempts: int = 50) -> int:
    taken = 0
    for _ in range(attempts):
        try:
            quota.enter()
        except TooManyRequests:
            return taken
        quota.leave()
        taken += 1
    return taken


def test_so_many_are_in_hand_at_once():
    quota = Quota(2, None, Clock())
    quota.enter()
    quota.enter()
    with pytest.raises(TooManyRequests, match="2 requests in hand"):
        quota.enter()
    quota.leave()
    quota.enter()


def test_the_bucket_holds_a_second_and_fills_at_its_rate():
    clock = Clock()
    quota = Quota(None, 10, clock)
    assert count_taken(quota) == 10
    clock.now += 0.35
    assert count_taken(quota) == 3
    clock.now += 60
    assert count_taken(quota) == 10


def test_a_slow_rate_lets_one_through_now_and_then():
    clock = Clock()
    quota = Quota(None, 0.5, clock)
    assert count_taken(quota) == 1
    clock.now += 1.9
    assert count_taken(quota) == 0
    clock.now += 0.2
    assert count_taken(quota) == 1


def test_a_refused_request_counts_for_nothing():
    clock = Clock()
    quota = Quota(1, 2, clock)
    quota.enter()
    with pytest.raises(TooManyRequests, match="in hand"):
        quota.enter()
    quota.leave()
    assert count_taken(quota) == 1  # one of two is left in the bucket
