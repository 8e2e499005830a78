# What rules ask of events: the values of a field are read from where they stand, and answers looked up by value.
# detect/columns.py and detect/programs.py have the same in Python, and say what the answers mean.

from cpython.dict cimport PyDict_GetItemWithError
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_New, PyTuple_SET_ITEM

cdef extern from "Python.h":
    PyTypeObject *_type_of "Py_TYPE"(PyObject *value)

cdef enum:
    MOST_KINDS = 32

cdef object _ZERO = 0


cdef inline void _put(tuple made, Py_ssize_t place, object value) noexcept:
    """Fills in one place of a new tuple that nobody else has seen; the place is empty, and inside."""
    Py_INCREF(value)
    PyTuple_SET_ITEM(made, place, value)


@cython.final
cdef class Reading:
    """How a field of events is read: by its place in the event, or in its `body` or `flow`, else by the getter.

    With `inner`, the field is a list of such records, and the value a tuple of what they have there.
    """

    cdef object get
    cdef Layout inner
    cdef bint many
    cdef PyTypeObject *event
    cdef PyTypeObject *record
    cdef Py_ssize_t record_at
    cdef Py_ssize_t at
    cdef Py_ssize_t inner_at
    cdef tuple kept
    """The classes of the events and of what holds the field; they are NULL where the getter is asked."""

    def __init__(self, object get, Layout event=None, str origin="", Layout record=None, str name="", bint many=False,
                 Layout inner=None, str inner_name=""):
        """ValueError where a record has no such field."""
        self.get, self.inner, self.many = get, inner, many
        self.event = self.record = NULL
        if event is not None and record is not None:
            self.record_at, self.at = event.at[event.place(origin)], record.at[record.place(name)]
            self.inner_at = 0 if inner is None else inner.place(inner_name)
            self.kept = event.record, record.record
            self.event, self.record = <PyTypeObject *>event.record, <PyTypeObject *>record.record

    cdef inline PyObject *peek(self, object event) noexcept:
        """What stands in the field's place, borrowed; NULL where it has none, or what is there is to be left alone."""
        cdef PyObject *found
        if _type_of(<PyObject *>event) is not self.event:
            return NULL
        found = (<PyObject **>(<char *><PyObject *>event + self.record_at))[0]
        if found is NULL or _type_of(found) is not self.record:
            return NULL
        return (<PyObject **>(<char *>found + self.at))[0]

    cdef object value(self, object event):
        """The value, as the getter gives it. What is not of the expected classes is left to the getter."""
        cdef PyObject *found = self.peek(event)
        cdef object value
        if found is NULL:
            return self.get(event)
        value = <object>found
        if self.inner is not None:
            return self.inner_values(value, event)
        return tuple(value) if self.many else value

    cdef object inner_values(self, object items, object event):
        cdef Py_ssize_t place
        cdef object item
        cdef tuple found
        if type(items) is not list:
            return self.get(event)
        found = PyTuple_New(len(<list>items))
        for place in range(len(found)):
            item = (<list>items)[place]
            if type(item) is not self.inner.record:
                return self.get(event)
            _put(found, place, self.inner.read(item, self.inner_at))
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


def ways_on(list steps not None, object nothing, list places not None, list events not None, list truths not None):
    """Program._go_on: the steps that lead anywhere, in the order in which they come, each with the places, the events
    and the truths (there may be none) at which it stands."""
    cdef dict found = {}
    cdef tuple here = None
    cdef object step, last = nothing
    cdef Py_ssize_t at
    cdef bint everywhere = True
    for at in range(len(steps)):
        step = steps[at]
        if step is nothing:
            everywhere = False
            continue
        if step is not last:
            last = step
            if step in found:
                here = found[step]
            else:
                here = found[step] = (step, [], [], [])
        (<list>here[1]).append(places[at])
        (<list>here[2]).append(events[at])
        if truths:
            (<list>here[3]).append(truths[at])
    if everywhere and len(found) == 1:
        return [(last, places, events, truths)]
    return list(found.values())


def kinds_counted(Layout layout not None, list events not None):
    """How many events there are of each kind, in the order in which the kinds come."""
    cdef dict found = {}
    cdef list kinds = []
    cdef Py_ssize_t[MOST_KINDS] many
    cdef Py_ssize_t place, which, kind_at = layout.place("kind")
    cdef object event, kind
    for place in range(len(events)):
        event = events[place]
        kind = layout.read(event, kind_at) if type(event) is layout.record else event.kind
        for which in range(len(kinds)):  # kinds are few, and mostly the same objects
            if kinds[which] is kind:
                many[which] += 1
                break
        else:
            if len(kinds) < MOST_KINDS:
                many[len(kinds)] = 1
                kinds.append(kind)
                found.setdefault(kind, 0)
            else:
                found[kind] = found.get(kind, 0) + 1
    for which in range(len(kinds)):
        found[kinds[which]] += many[which]
    return found
