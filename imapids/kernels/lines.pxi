# EVE JSON lines of events and alerts (output/eve.py): the lines that nearly all are, without a step of the interpreter.

from libc.string cimport memcmp, memmove

cdef enum:
    LEAST_ROOM = 4_096
    MOST_ORIGINS = 8


@cython.final
cdef class LineParts:
    """What the lines of an event type have in common."""

    cdef Plan plan
    cdef bytes name, protocol, key
    cdef Py_ssize_t protocol_at
    """Bytes from the begin of a body to the field that names the protocol; -1: none does."""
    cdef bint labelled, counted

    def __init__(self, Plan plan, bytes name, bytes protocol, bytes key, *, str protocol_in=None, bint labelled=False,
                 bint counted=False):
        """
        Args:
            name, protocol, key: the parts of a line around the flow's head, the frame number and the body.
            protocol_in: the field of the body that names the protocol; `protocol` stands where it names none.
            labelled: the line tells the flow's direction by a label.
            counted: the line tells the counts of its flow.
        """
        self.plan, self.name, self.protocol, self.key = plan, name, protocol, key
        self.labelled, self.counted = labelled, counted
        self.protocol_at = -1 if protocol_in is None else plan.layout.at[plan.layout.place(protocol_in)]


cdef struct Shape:
    PyTypeObject *body
    PyObject *parts


@cython.final
cdef class Lines:
    """Encodes events and alerts. A line that is rare or odd is handed to `alone`, the same in Python."""

    cdef Plan event, alert, head, vlans, counts, start, identity, found, facts
    cdef Py_ssize_t event_time, event_body, event_flow, event_packet
    """Bytes from the begin of an event to these fields."""
    cdef Py_ssize_t alert_time, alert_flow, alert_packet, alert_labels
    cdef Py_ssize_t flow_head, flow_source, flow_interface, head_at, source_at, interface_at, direction_at
    cdef Py_ssize_t longest, line_room
    cdef Shape[MOST_CLASSES] shapes
    cdef int shape_count
    cdef dict kinds, plans
    cdef bytes direction
    cdef object encode_json, alone, make_head, alert_parts
    cdef tuple origins
    """(source, interface, what stands for them in the heads of flows with these very objects): the newest ones"""

    def __init__(self, *, dict kinds, Plan event, Plan alert, Plan head, Plan vlans, Plan counts, Plan start,
                 Plan identity, Plan found, Plan facts, Py_ssize_t longest, bytes direction, encode_json, alone,
                 make_head, alert_parts):
        """
        Args:
            kinds: by class of body (at most 32).
            event, alert: plans of these records, for the places of their fields.
            head, vlans, counts, start: of a flow: the begin of its head, the end of it, behind source and interface;
                its counts, and its begin alone.
            identity, found, facts: of an alert: what stands before, between and behind the parts of its rule.
            longest: a line with more bytes is Python's.
            direction: what the label of a flow's direction begins with, before the direction.
            encode_json: msgspec's encoder.
            alone: gives the line of an event or alert.
            make_head: gives the whole head of a flow.
            alert_parts: gives an alert's protocol, whether its flow is over, and three parts that are its rule's.
        """
        self.plans, self.longest, self.line_room = {}, longest, LEAST_ROOM
        self.event, self.alert, self.head, self.counts, self.start = event, alert, head, counts, start
        self.vlans, self.identity, self.found, self.facts, self.direction = vlans, identity, found, facts, direction
        self.encode_json, self.alone, self.make_head = encode_json, alone, make_head
        self.alert_parts, self.origins = alert_parts, ()
        self.kinds = dict(kinds)
        if len(self.kinds) > MOST_CLASSES:
            raise TypeError("too many classes of bodies")
        for body, parts in self.kinds.items():
            self.shapes[self.shape_count].body = <PyTypeObject *><PyObject *>body
            self.shapes[self.shape_count].parts = <PyObject *><LineParts?>parts
            self.shape_count += 1
        place = event.layout.place
        self.event_time, self.event_body = event.layout.at[place("time_ns")], event.layout.at[place("body")]
        self.event_flow, self.event_packet = event.layout.at[place("flow")], event.layout.at[place("packet")]
        place = alert.layout.place
        self.alert_time, self.alert_flow, self.alert_packet = place("time_ns"), place("flow"), place("packet")
        self.alert_labels = place("labels")
        place = head.layout.place
        self.flow_head, self.flow_source = place("eve_head"), place("source")
        self.flow_interface = place("interface")
        self.head_at, self.direction_at = head.layout.at[self.flow_head], head.layout.at[place("direction")]
        self.source_at, self.interface_at = head.layout.at[self.flow_source], head.layout.at[self.flow_interface]

    def encode(self, items):
        """The lines of many items, as bytes."""
        cdef Py_ssize_t count = len(items) if isinstance(items, (list, tuple)) else 1
        cdef JsonText out = JsonText(count * self.line_room + LEAST_ROOM, self.plans, self.encode_json)
        for item in items:
            self.add(out, item)
        if count > 1:
            self.line_room = out.used // count + out.used // count // 8
        return out.taken()

    cdef int add(self, JsonText out, item) except -1:
        """Writes the line of an item, whoever must."""
        cdef Py_ssize_t start = out.used
        cdef int done = 0
        try:
            done = self.prepare(out, item) and self.line(out, item)
            while not done and out.learn():
                out.used = start
                done = self.line(out, item)
        except UnicodeEncodeError:  # of Python's parts of a line
            done = 0
        if not done or not self.is_good(out, start):
            out.used = start
            out.put(self.alone(item))
        if out.full:
            raise MemoryError
        return 0

    cdef bint is_good(self, JsonText out, Py_ssize_t start) noexcept nogil:
        """Whether a line is as short as lines may be, and without any byte to be escaped."""
        return out.used - start <= self.longest and is_harmless(out.begin + start, out.used - start)

    cdef int prepare(self, JsonText out, item) except -1:
        """Makes what a line is made of and Python keeps: the head of the flow. 0 where the line is Python's."""
        cdef PyObject *flow = NULL
        if type(item) is self.event.layout.record:
            flow = held_in(<PyObject *>item, self.event_flow)
        elif type(item) is self.alert.layout.record:
            flow = held_in(<PyObject *>item, self.alert.layout.at[self.alert_flow])
        if flow is NULL:
            return 0
        if flow is Py_None:
            return 1
        if Py_TYPE(flow) is not <PyTypeObject *><PyObject *>self.head.layout.record:
            return 0
        return self.has_head(flow) or self.make(out, <object>flow)

    cdef inline bint has_head(self, PyObject *flow) noexcept nogil:
        cdef PyObject *head = held_in(flow, self.head_at)
        return head is not NULL and PyBytes_CheckExact(head) and bytes_size(head) > 0

    cdef int make(self, JsonText out, flow) except -1:
        """Makes the head of a flow, which is kept in its record."""
        cdef Layout layout = self.head.layout
        cdef Py_ssize_t start = out.used
        if self.compose(out, <PyObject *>flow, <PyObject *>self.origins):
            head = PyBytes_FromStringAndSize(out.begin + start, out.used - start)
            layout.write(flow, self.flow_head, head)
            out.used = start
            return 1
        out.used = start
        if not out.fields(<PyObject *>flow, self.head, 0):
            return 0
        begin = PyBytes_FromStringAndSize(out.begin + start, out.used - start)
        out.used = start
        if not out.fields(<PyObject *>flow, self.vlans, 0):
            return 0
        end = PyBytes_FromStringAndSize(out.begin + start, out.used - start)
        out.used = start
        head = self.make_head(flow)
        if len(begin) + len(end) <= len(head) and head.startswith(begin) and head.endswith(end):
            origin = (layout.read(flow, self.flow_source), layout.read(flow, self.flow_interface),
                      head[len(begin) : len(head) - len(end)])
            self.origins = (origin, *self.origins[: MOST_ORIGINS - 1])
        return 1

    cdef int compose(self, JsonText out, PyObject *flow, PyObject *origins) noexcept nogil:
        """Writes the head of a flow; 0 where it comes from another origin than those. One capture has a few."""
        cdef PyObject *source = held_in(flow, self.source_at)
        cdef PyObject *interface = held_in(flow, self.interface_at)
        cdef PyObject *origin
        cdef Py_ssize_t at
        for at in range(tuple_size(origins)):
            origin = tuple_item(origins, at)
            if tuple_item(origin, 0) is source and tuple_item(origin, 1) is interface:
                return (out.fields(flow, self.head, 0) and out.copy(tuple_item(origin, 2))
                        and out.fields(flow, self.vlans, 0))
        return 0

    cdef int line(self, JsonText out, item) except -1:
        """The line of an item; 0 where it is Python's."""
        if type(item) is self.event.layout.record:
            return self.event_line(out, <PyObject *>item, NULL)
        return self.alert_line(out, item) if type(item) is self.alert.layout.record else 0

    cdef int event_line(self, JsonText out, PyObject *event, PyObject *origins) noexcept nogil:
        """The line of an event; 0 where it is Python's. With `origins`, heads that were not made are written anew."""
        cdef PyObject *body = held_in(event, self.event_body)
        cdef int at
        if body is NULL:
            return 0
        for at in range(self.shape_count):
            if self.shapes[at].body is Py_TYPE(body):
                return self.shaped(out, event, body, <LineParts>self.shapes[at].parts, origins)
        return 0

    cdef int shaped(self, JsonText out, PyObject *event, PyObject *body, LineParts parts,
                    PyObject *origins) noexcept nogil:
        """The same, with a body of this event type."""
        cdef PyObject *flow = held_in(event, self.event_flow)
        if flow is NULL or not self.stamp(out, held_in(event, self.event_time)):
            return 0
        if not out.copy(<PyObject *>parts.name):
            return 0
        if flow is not Py_None and not (self.put_head(out, flow, origins) and self.put_protocol(out, body, parts)):
            return 0
        if not self.put_packet(out, held_in(event, self.event_packet)):
            return 0
        if flow is not Py_None:
            if parts.counted and not self.put_counts(out, flow, self.counts):
                return 0
            if parts.labelled and not self.put_direction(out, flow):
                return 0
        return (out.copy(<PyObject *>parts.key) and out.record(body, parts.plan, 0) and out.raw(b"}\n", 2))

    cdef int put_protocol(self, JsonText out, PyObject *body, LineParts parts) noexcept nogil:
        """The protocol that a body names, or that the event type has."""
        cdef PyObject *named = Py_None if parts.protocol_at < 0 else held_in(body, parts.protocol_at)
        if named is NULL or not (named is Py_None or PyUnicode_CheckExact(named)):
            return 0
        if named is Py_None or PyUnicode_GET_LENGTH(named) == 0:
            return out.copy(<PyObject *>parts.protocol)
        return out.raw(b',"app_proto":', 13) and out.text(named)

    cdef int put_direction(self, JsonText out, PyObject *flow) noexcept nogil:
        """The label of the flow's direction, if it is known."""
        cdef PyObject *direction = held_in(flow, self.direction_at)
        cdef Py_ssize_t start
        if direction is NULL or not PyUnicode_CheckExact(direction):
            return 0
        if not out.raw(b',"traffic":{"label":["', 22) or not out.copy(<PyObject *>self.direction):
            return 0
        start = out.used
        if not out.text(direction):
            return 0
        if out.used - start == 9 and memcmp(out.begin + start, b'"unknown"', 9) == 0:
            out.used = start - 22 - bytes_size(<PyObject *>self.direction)
            return 1
        memmove(out.begin + start, out.begin + start + 1, out.used - start - 1)  # it is one text with what is before
        out.used -= 1
        return out.raw(b"]}", 2)

    cdef int alert_line(self, JsonText out, alert) except -1:
        """The line of an alert; 0 where it is Python's."""
        cdef Layout layout = self.alert.layout
        cdef bytes protocol, begin, identity, texts
        cdef Py_ssize_t start
        labels, flow = layout.read(alert, self.alert_labels), layout.read(alert, self.alert_flow)
        if type(labels) is not list:
            return 0
        protocol, over, begin, identity, texts = self.alert_parts(alert)
        time_ns, packet = layout.read(alert, self.alert_time), layout.read(alert, self.alert_packet)
        if not self.stamp(out, <PyObject *>time_ns) or not out.raw(b'"event_type":"alert"', 20):
            return 0
        if flow is not None and not (self.put_head(out, <PyObject *>flow, NULL) and out.put(protocol)):
            return 0
        if not self.put_packet(out, <PyObject *>packet):
            return 0
        if flow is not None and not self.put_counts(out, <PyObject *>flow, self.counts if over else self.start):
            return 0
        if labels:
            labels = labels[:16]
            if not (out.raw(b',"traffic":{"label":', 20) and out.elements(<PyObject *>labels, 0) and out.raw(b"}", 1)):
                return 0
        out.raw(b',"alert":', 9)
        out.put(begin)
        start = out.used
        if not out.fields(<PyObject *>alert, self.identity, 0):
            return 0
        out.begin[start] = c"{"
        out.put(identity)
        if not out.fields(<PyObject *>alert, self.found, 0):
            return 0
        out.put(texts)
        return out.fields(<PyObject *>alert, self.facts, 0) and out.raw(b"}}}}\n", 5)

    cdef int stamp(self, JsonText out, PyObject *time_ns) noexcept nogil:
        return time_ns is not NULL and out.raw(b'{"timestamp":"', 14) and out.time(time_ns) and out.raw(b'",', 2)

    cdef int put_head(self, JsonText out, PyObject *flow, PyObject *origins) noexcept nogil:
        """The head of a flow."""
        if Py_TYPE(flow) is not <PyTypeObject *><PyObject *>self.head.layout.record:
            return 0
        if self.has_head(flow):
            return out.copy(held_in(flow, self.head_at))
        return origins is not NULL and self.compose(out, flow, origins)

    cdef int put_packet(self, JsonText out, PyObject *packet) noexcept nogil:
        """The frame number, if there is one."""
        cdef Py_ssize_t start = out.used
        if packet is NULL or not PyLong_CheckExact(packet):
            return 0
        if not out.raw(b',"pcap_cnt":', 12) or not out.integer(packet):
            return 0
        if out.used - start == 13 and out.begin[start + 12] == c"0":
            out.used = start
        return 1

    cdef int put_counts(self, JsonText out, PyObject *flow, Plan counts) noexcept nogil:
        return out.raw(b',"flow":', 8) and out.record(flow, counts, 0)
