"""What is counted over a window of packet time: groups that are told of when their window is over, never too many."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, Protocol, TypeVar

STEPS = frozenset(10**power for power in range(1, 13))
"""Counts at which observers tell: 10, 100, 1,000 ..."""


def passed_step(before: int, after: int) -> bool:
    """Whether a count that rose passed 10, 100, 1,000 ..."""
    return after >= 10 and len(str(after)) > len(str(max(before, 1)))


class Windowed(Protocol):
    """A group that knows when its window began."""

    start_ns: int


Key = TypeVar("Key", bound=Hashable)
Group = TypeVar("Group", bound=Windowed)


class Groups(Generic[Key, Group]):
    """Groups by key, each with a window of its own that begins when the group does. The oldest one makes room."""

    def __init__(self, window_ns: int, most: int) -> None:
        self.window_ns = window_ns
        self._most = most
        self._groups: OrderedDict[Key, Group] = OrderedDict()  # the oldest window first (a dict is slow there)
        self.get: Callable[[Key], Group | None] = self._groups.get
        """The group of that key, if its window is open."""
        self.first_end_ns = 1 << 63
        """When the oldest window is over."""
        self.dropped = 0
        """Groups that made room before their window was over."""

    def __len__(self) -> int:
        return len(self._groups)

    def add(self, key: Key, group: Group) -> Group | None:
        """Opens a window; returns the oldest group if it had to make room: tell of it."""
        oldest = None
        if len(self._groups) >= self._most:
            _, oldest = self._groups.popitem(last=False)
            self.dropped += 1
        self._groups[key] = group
        self._set_first_end()
        return oldest

    def replace(self, key: Key, group: Group) -> None:
        """Puts another group into an open window, which stays what it was."""
        self._groups[key] = group

    def over(self, now_ns: int) -> list[Group]:
        """Takes out the groups whose window is over by now, the oldest first."""
        if now_ns < self.first_end_ns:
            return []
        found = []
        while self._groups:
            key = next(iter(self._groups))
            if self._groups[key].start_ns + self.window_ns > now_ns:
                break
            found.append(self._groups.pop(key))
        self._set_first_end()
        return found

    def take_all(self) -> Iterator[Group]:
        """Takes out all groups, the oldest first."""
        while self._groups:
            yield self._groups.popitem(last=False)[1]
        self._set_first_end()

    def _set_first_end(self) -> None:
        first = next(iter(self._groups.values()), None)
        self.first_end_ns = 1 << 63 if first is None else first.start_ns + self.window_ns


class Values:
    """The budget of different values that an observer remembers to count them; what is over it is not remembered."""

    __slots__ = ("left", "per_group", "refused")

    def __init__(self, most: int, per_group: int) -> None:
        self.left = most
        self.per_group = per_group
        self.refused = 0
        """Values that could not be remembered: counts of different ones are lower bounds from then on."""

    def room(self, known: int) -> bool:
        """Whether a group that remembers `known` values may remember one more; takes it from the budget."""
        if self.left <= 0 or known >= self.per_group:
            self.refused += 1
            return False
        self.left -= 1
        return True

    def give_back(self, count: int) -> None:
        """A group is gone."""
        self.left += count
