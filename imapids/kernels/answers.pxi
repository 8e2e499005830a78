# What rules ask of events: the values of a field are read from where they stand, and answers looked up by value.
# detect/columns.py and detect/programs.py have the same in Python, and say what the answers mean.

from cpython.dict cimport PyDict_GetItemWithError
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_New, PyTuple_SET_ITEM

cdef object _ZERO = 0


@cython.final
cdef class Reading:
    """How a field of events is read: by its place in the event, or in its `body` or `flow`, else by the getter.

    With `inner`, the field is a list of such records, and the value a tuple of what they have there.
    """

    cdef object get
    cdef Layout event
    cdef Layout record
    cdef Layout inner
    cdef bint many
    cdef Py_ssize_t record_at
    cdef Py_ssize_t at
    cdef Py_ssize_t inner_at

    def __init__(self, object get, Layout event, str origin="", Layout record=None, str name="", bint many=False,
                 Layout inner=None, str inner_name=""):
        """ValueError where a record has no such field."""
        self.get, self.event, self.record, self.inner, self.many = get, event, record, inner, many
        self.record_at = self.at = self.inner_at = 0
        if record is not None:
            self.record_at, self.at = event.place(origin), record.place(name)
        if inner is not None:
            self.inner_at = inner.place(inner_name)

    cdef object value(self, object event):
        """The value, as the getter gives it. What is not of the expected classes is left to the getter."""
        cdef object found
        if self.record is None or type(event) is not self.event.record:
            return self.get(event)
        found = self.event.read(event, self.record_at)
        if type(found) is not self.record.record:
            return self.get(event)
        found = self.record.read(found, self.at)
        if self.inner is not None:
            return self.inner_values(found, event)
        return tuple(found) if self.many else found

    cdef object inner_values(self, object items, object event):
        cdef Py_ssize_t place
        cdef object item, value
        cdef tuple found
        if type(items) is not list:
            return self.get(event)
        found = PyTuple_New(len(<list>items))
        for place in range(len(found)):
            item = (<list>items)[place]
            if type(item) is not self.inner.record:
                return self.get(event)
            value = self.inner.read(item, self.inner_at)
            Py_INCREF(value)
            PyTuple_SET_ITEM(found, place, value)
        return found

    def masks(self, dict memo not None, list events not None, object learn not None):
        """Column.masks: the answers of a memo for each event; empty where all are 0.

        New values are told to `learn` when all others are looked up, in the order of the events.
        """
        cdef list found = [], places = [], values = []
        cdef PyObject *known
        cdef object value, last = None, mask = None
        cdef Py_ssize_t place
        cdef bint any_holds = False
        for place in range(len(events)):
            value = self.value(events[place])
            if value is not last or mask is None:  # many values come many times in a row
                known = PyDict_GetItemWithError(memo, value)
                mask = None if known is NULL else <object>known
                last = value
            if mask is None:
                places.append(place)
                values.append(value)
            any_holds |= mask is not _ZERO
            found.append(mask)
        for place in range(len(places)):
            value = memo.get(values[place])
            if value is None:
                value = learn(values[place])
            found[<Py_ssize_t>places[place]] = value
        return found if any_holds else []


def steps_known(tuple readings not None, dict steps not None, list events not None):
    """The first look-up of Program.matches: for each event what is known for the values of its fields, or None."""
    cdef list found = []
    cdef PyObject *step
    cdef object event, value
    cdef tuple key
    cdef Py_ssize_t place, which, width = len(readings)
    for value in readings:
        if not isinstance(value, Reading):
            raise TypeError("not a Reading")
    for place in range(len(events)):
        event = events[place]
        key = PyTuple_New(width)
        for which in range(width):
            value = (<Reading>PyTuple_GET_ITEM(readings, which)).value(event)
            Py_INCREF(value)
            PyTuple_SET_ITEM(key, which, value)
        step = PyDict_GetItemWithError(steps, key)
        found.append(None if step is NULL else <object>step)
    return found


def places_of_steps(list steps not None, object nothing):
    """programs._picked: the steps that lead anywhere, each with the places at which it stands; None: everywhere."""
    cdef dict found = {}
    cdef list here
    cdef object step, last = nothing
    cdef Py_ssize_t place
    for place in range(len(steps)):
        step = steps[place]
        if step is nothing:
            continue
        if step is not last:
            here = found.setdefault(step, [])
            last = step
        here.append(place)
    if len(found) == 1 and len(here) == len(steps):
        return [(last, None)]
    return list(found.items())


def by_kind(Layout layout not None, list events not None):
    """The places of the events of each kind, and those events."""
    cdef dict found = {}
    cdef object event, kind, last = None
    cdef list places, some
    cdef Py_ssize_t place, kind_at = layout.place("kind")
    for place in range(len(events)):
        event = events[place]
        kind = layout.read(event, kind_at) if type(event) is layout.record else event.kind
        if kind is not last:
            if kind not in found:
                found[kind] = ([], [])
            places, some = found[kind]
            last = kind
        places.append(place)
        some.append(event)
    return found
