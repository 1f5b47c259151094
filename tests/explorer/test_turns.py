import asyncio

import pytest

from safr.explorer.turns import BusyError, StoppedError, Turns


async def run_all(turns, visitors):
    """Who gets a turn, in order, when all of these ask at once while a turn is taken."""
    order = []

    async def wait(visitor):
        await turns.take(visitor)
        order.append(visitor)
        turns.give_back()

    await turns.take("first")
    tasks = [asyncio.create_task(wait(visitor)) for visitor in visitors]
    await asyncio.sleep(0)
    turns.give_back()
    await asyncio.gather(*tasks)
    return order


def test_visitors_take_turns_and_nobody_comes_last():
    assert asyncio.run(run_all(Turns(10), ["a", "a", "a", None, "b", "c", "b"])) == ["a", "b", "c", "a", "b", "a", None]


def test_whoever_waits_for_the_most_makes_room():
    async def ask():
        turns = Turns(2)
        await turns.take("first")
        crowd = [asyncio.create_task(turns.take("a")) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await turns.take("a")
        other = asyncio.create_task(turns.take("b"))
        with pytest.raises(BusyError):
            await crowd[1]
        turns.give_back()
        await crowd[0]
        turns.give_back()
        await other

    asyncio.run(ask())


@pytest.mark.parametrize("given", [False, True])
def test_a_turn_that_nobody_waits_for_goes_to_the_next(given):
    async def ask():
        turns = Turns(10)
        await turns.take("first")
        gone, stays = (asyncio.create_task(turns.take(visitor)) for visitor in ("a", "b"))
        await asyncio.sleep(0)
        if given:  # the turn comes at the moment at which the visitor leaves
            turns.give_back()
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        if not given:
            turns.give_back()
        await asyncio.wait_for(stays, 5)
        turns.give_back()
        await asyncio.wait_for(turns.take("c"), 5)

    asyncio.run(ask())


def test_at_the_end_all_are_turned_away():
    async def ask():
        turns = Turns(10)
        await turns.take("first")
        waiting = [asyncio.create_task(turns.take(visitor)) for visitor in ("a", None)]
        await asyncio.sleep(0)
        turns.close()
        for task in waiting:
            with pytest.raises(StoppedError):
                await task

    asyncio.run(ask())
