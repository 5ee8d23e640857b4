"""Deadlines on one timer."""

import asyncio

from proxy.engine.alarm import Alarm
from tests.fixtures.lane import poll_until


async def test_it_rings_for_each_deadline_in_order():
    rung = []
    alarm = Alarm(rung.append)
    now = asyncio.get_running_loop().time()
    for key, after_s in (("late", 0.06), ("early", 0.02), ("middle", 0.04)):
        alarm.set(key, now + after_s)
    await poll_until(lambda: len(rung) == 3)
    assert rung == ["early", "middle", "late"]
    assert asyncio.get_running_loop().time() >= now + 0.06


async def test_what_was_cleared_never_rings():
    rung = []
    alarm = Alarm(rung.append)
    now = asyncio.get_running_loop().time()
    alarm.set("met", now + 0.01)
    alarm.set("missed", now + 0.03)
    alarm.clear("met")
    alarm.clear("unknown")
    await poll_until(lambda: rung)
    assert rung == ["missed"]


async def test_a_key_that_is_set_again_rings_at_its_new_deadline():
    rung = []
    alarm = Alarm(rung.append)
    now = asyncio.get_running_loop().time()
    alarm.set("moved", now + 0.01)
    alarm.set("moved", now + 0.04)
    await poll_until(lambda: rung)
    assert asyncio.get_running_loop().time() >= now + 0.04


async def test_a_key_may_be_set_while_it_rings():
    rung = []

    def ring(key):
        rung.append(key)
        if len(rung) == 1:
            alarm.set(key, asyncio.get_running_loop().time())

    alarm = Alarm(ring)
    alarm.set("again", asyncio.get_running_loop().time())
    await poll_until(lambda: len(rung) == 2)
