"""Makes the next item in a thread while the last one is used: batches are read and decoded beside all other work."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterator
from queue import SimpleQueue
from typing import Generic, TypeVar

Item = TypeVar("Item")


def has_second_processor() -> bool:
    """Whether two threads of this process can run at the same time."""
    counted = getattr(os, "process_cpu_count", None)  # Python 3.13: what -X cpu_count says counts, too
    if counted is not None:
        return (counted() or 1) > 1
    return (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1) > 1


class OneAhead(Generic[Item]):
    """Hands on the items of an iterator, and makes the next one in a thread while one is used that is large enough.

    The one behind the next is begun when the next is asked for: two items are alive at a time, and what they share must
    hold for both. It pays where most of the making needs no interpreter lock (reading, decompressing, loops over
    columns) and takes milliseconds; small items are made in line, because a thread that waits for the lock waits long.
    """

    def __init__(self, is_large: Callable[[Item], bool]) -> None:
        self.closing = False
        """Nobody wants more items: what can block in the making has to end when this is true."""
        self._is_large = is_large

    def hand_on(self, items: Iterator[Item]) -> Generator[Item, None, None]:
        """The items in their order, and what their making raises at its place.

        Closing the generator lets the item be finished that is being made, and waits for it.
        """
        for item in items:
            if not self._is_large(item):
                yield item
                continue
            crew = _Thread(items, self._is_large)
            try:
                yield item
                del item
                yield from crew.made()
            finally:
                self.closing = not crew.over
                crew.close()


class _Thread(Generic[Item]):
    """Makes items in a thread, up to a small one or the end."""

    def __init__(self, items: Iterator[Item], is_large: Callable[[Item], bool]) -> None:
        self.over = False
        """The thread makes no more items."""
        self._items = items
        self._is_large = is_large
        self._closed = False
        self._wanted: SimpleQueue[None] = SimpleQueue()
        self._made: SimpleQueue[tuple[Item] | BaseException | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="imapids-ahead", daemon=True)
        self._thread.start()

    def made(self) -> Iterator[Item]:
        """The items, while the thread makes some."""
        while isinstance(made := self._made.get(), tuple):
            self._wanted.put(None)
            yield made[0]
            del made
        self.over = True
        if made is not None:
            raise made

    def close(self) -> None:
        """No more items are wanted; waits for the thread."""
        self._closed = True
        self._wanted.put(None)
        self._thread.join()

    def _work(self) -> None:
        end: BaseException | None = None
        try:
            for item in self._items:
                small = not self._is_large(item)
                self._made.put((item,))
                if small:
                    break
                del item
                self._wanted.get()  # it is used from now on, and the one before it is not any more
                if self._closed:
                    break
        except BaseException as error:  # noqa: BLE001  # comes up where the items are used
            end = error
        self._made.put(end)
