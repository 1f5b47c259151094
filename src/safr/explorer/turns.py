"""Turns: one piece of work at a time, and the visitors who wait take turns, so that none holds up the others."""

from __future__ import annotations

import asyncio
from collections import deque

_Turn = asyncio.Future[None]


class BusyError(Exception):
    """Too many questions wait already."""


class StoppedError(Exception):
    """Work ended before its end, because nobody waits for it or the server stops."""


class Turns:
    """Hands out turns, one at a time: to one visitor after the other, and to a visitor in the order of asking.

    For one event loop. Where too many turns are waited for, the visitor who waits for the most loses the latest.

    Args:
        most: How many turns may be waited for.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._taken = False
        self._waiting: dict[str, deque[_Turn]] = {}  # the visitor whose turn is next comes first
        self._idle_waiting: deque[_Turn] = deque()

    async def take(self, visitor: str | None) -> None:
        """Wait for a turn. It must be given back.

        Args:
            visitor: Who waits. None is nobody: work that is done while no visitor waits, and does not count.

        Raises:
            BusyError: Too many turns are waited for.
        """
        if not self._taken:
            self._taken = True
            return
        turn: _Turn = asyncio.get_running_loop().create_future()
        if visitor is None:
            self._idle_waiting.append(turn)
        else:
            self._make_room(visitor)
            self._waiting.setdefault(visitor, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # at the same moment
                if turn.exception() is None:
                    self.give_back()
            else:
                self._forget(visitor, turn)
            raise

    def give_back(self) -> None:
        """Let the next go on."""
        turn = self._find_next()
        if turn is None:
            self._taken = False
        else:
            turn.set_result(None)

    def close(self) -> None:
        """Turn away all who wait."""
        for waiting in (*self._waiting.values(), self._idle_waiting):
            for turn in waiting:
                _turn_away(turn, StoppedError())
        self._waiting.clear()
        self._idle_waiting.clear()

    def _make_room(self, visitor: str) -> None:
        if sum(map(len, self._waiting.values())) < self.most:
            return
        longest = max(self._waiting, key=lambda name: len(self._waiting[name]), default=visitor)
        if len(self._waiting.get(longest, ())) <= len(self._waiting.get(visitor, ())) + 1:
            raise BusyError
        _turn_away(self._waiting[longest].pop(), BusyError())

    def _find_next(self) -> _Turn | None:
        while self._waiting:
            visitor, turns = next(iter(self._waiting.items()))
            del self._waiting[visitor]
            turn = turns.popleft()
            if turns:
                self._waiting[visitor] = turns  # behind the other visitors
            if not turn.done():
                return turn
        while self._idle_waiting:
            turn = self._idle_waiting.popleft()
            if not turn.done():
                return turn
        return None

    def _forget(self, visitor: str | None, turn: _Turn) -> None:
        waiting = self._idle_waiting if visitor is None else self._waiting.get(visitor, deque())
        if turn in waiting:
            waiting.remove(turn)
        if visitor is not None and not waiting:
            self._waiting.pop(visitor, None)


def _turn_away(turn: _Turn, reason: Exception) -> None:
    if not turn.done():
        turn.set_exception(reason)
