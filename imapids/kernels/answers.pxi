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

    cdef object value(self, object event):
        """The value, as the getter gives it. What is not of the expected classes is left to the getter."""
        cdef PyObject *found
        cdef object value
        if _type_of(<PyObject *>event) is not self.event:
            return self.get(event)
        found = (<PyObject **>(<char *><PyObject *>event + self.record_at))[0]
        if found is NULL or _type_of(found) is not self.record:
            return self.get(event)
        found = (<PyObject **>(<char *>found + self.at))[0]
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
            _put(key, which, (<Reading>PyTuple_GET_ITEM(readings, which)).value(event))
        step = PyDict_GetItemWithError(steps, key)
        found.append(None if step is NULL else <object>step)
    return found


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


@cython.final
cdef class Recount:
    """RollingAlerts.fire where the alert is open and no line is due: the match is counted, and that is all."""

    cdef Layout event
    cdef Layout flow
    cdef Layout state
    cdef object opened
    cdef object to_end
    cdef object idle_ns
    cdef dict subjects
    cdef Py_ssize_t time_at
    cdef Py_ssize_t flow_at
    cdef Py_ssize_t count_at
    cdef Py_ssize_t last_at
    cdef Py_ssize_t next_at

    def __init__(self, Layout event not None, Layout flow not None, Layout state not None, object opened,
                 object idle_ns, dict subjects not None):
        """
        Args:
            opened: the alerts (`state`) by (rule id, subject), the quietest first.
            subjects: for each kind of subject the fields of the flow that make it.
        """
        self.event, self.flow, self.state, self.idle_ns = event, flow, state, idle_ns
        self.opened, self.to_end = opened, opened.move_to_end
        self.subjects = {kind: tuple([flow.place(name) for name in names]) for kind, names in subjects.items()}
        self.time_at, self.flow_at = event.place("time_ns"), event.place("flow")
        self.count_at, self.last_at, self.next_at = [state.place(name) for name in ("count", "last_ns", "next_update")]

    def counted(self, tuple rules not None, object event):
        """How many of these matches of an event, from the first on, are counted now; the next one is for `fire`.

        Args:
            rules: (rule id, kind of subject) of each.
        """
        cdef object flow, key, rule, state, time_ns, last_ns, count
        cdef tuple subject, places
        cdef PyObject *known
        cdef Py_ssize_t at, which
        if type(event) is not self.event.record:
            return 0
        flow, time_ns = self.event.read(event, self.flow_at), self.event.read(event, self.time_at)
        if type(flow) is not self.flow.record:
            return 0
        for at in range(len(rules)):
            rule = rules[at]
            places = self.subjects.get(rule[1])
            if places is None:
                return at
            subject = PyTuple_New(len(places) + 1)
            _put(subject, 0, rule[1])
            for which in range(len(places)):
                _put(subject, which + 1, self.flow.read(flow, places[which]))
            key = rule[0], subject
            known = PyDict_GetItemWithError(self.opened, key)
            if known is NULL:
                return at
            state = <object>known
            if type(state) is not self.state.record:
                return at
            last_ns, count = self.state.read(state, self.last_at), self.state.read(state, self.count_at) + 1
            if time_ns - last_ns > self.idle_ns or count >= self.state.read(state, self.next_at):
                return at
            self.to_end(key)
            self.state.write(state, self.count_at, count)
            if time_ns > last_ns:
                self.state.write(state, self.last_at, time_ns)
        return len(rules)
