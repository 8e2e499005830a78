# Events on their way to the observers: put in order, and shared out to those who want events of their kinds.

from cpython.dict cimport PyDict_GetItemWithError
from cpython.list cimport PyList_GET_ITEM, PyList_New, PyList_SET_ITEM
from libc.stdint cimport int64_t


def rearranged(list items, const int64_t[::1] places):
    """A new list of the items at these places; IndexError where there is no such place."""
    cdef Py_ssize_t i, count = len(items)
    cdef list moved = PyList_New(places.shape[0])
    cdef object item
    for i in range(places.shape[0]):
        if not 0 <= places[i] < count:
            raise IndexError("no such place")  # the list is dropped: what is not filled in is empty, and no object
        item = <object>PyList_GET_ITEM(items, places[i])
        Py_INCREF(item)
        PyList_SET_ITEM(moved, i, item)
    return moved


cdef class Sharing:
    """Shares events out by their kinds."""

    cdef Layout event
    cdef Py_ssize_t kind

    def __init__(self, event):
        """`event`: the class of events, with a field `kind`."""
        self.event = Layout(event)
        self.kind = self.event.place("kind")

    def among(self, list events, const int64_t[::1] known, dict seers):
        """Appends each event, and the packet that made it known, to the lists of those who want its kind.

        Args:
            known: of each event, shape (len(events),).
            seers: pairs of lists by kind: of events, and of packets.
        """
        cdef Py_ssize_t i
        cdef object event, packet
        cdef PyObject *found
        cdef tuple lists
        if known.shape[0] != len(events):
            raise ValueError("one packet for each event")
        for i in range(len(events)):
            event = events[i]
            found = PyDict_GetItemWithError(
                seers, self.event.read(event, self.kind) if type(event) is self.event.record else event.kind)
            if found is NULL:
                continue
            packet = known[i]
            for lists in <list>found:
                (<list>lists[0]).append(event)
                (<list>lists[1]).append(packet)
