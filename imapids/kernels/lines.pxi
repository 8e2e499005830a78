# EVE JSON lines of events and alerts (output/eve.py): the lines that nearly all are, without a step of the interpreter.

cdef enum:
    LEAST_ROOM = 4_096


@cython.final
cdef class LineParts:
    """What the lines of an event type have in common."""

    cdef Plan plan
    cdef bytes name, protocol, key
    cdef bint plain, counted

    def __init__(self, Plan plan, bytes name, bytes protocol, bytes key, *, bint plain, bint counted):
        """
        Args:
            name, protocol, key: the parts of a line around the flow's head, the frame number and the body.
            plain: nothing in the line depends on the body, except the body.
            counted: the line tells the counts of its flow.
        """
        self.plan, self.name, self.protocol, self.key = plan, name, protocol, key
        self.plain, self.counted = plain, counted


@cython.final
cdef class Lines:
    """Encodes events and alerts. A line that is rare or odd is handed to `alone`, the same in Python."""

    cdef Plan event, alert, head, counts, start, identity, found, facts
    cdef Py_ssize_t event_time, event_body, event_flow, event_packet
    cdef Py_ssize_t alert_time, alert_flow, alert_packet, alert_labels
    cdef Py_ssize_t flow_head, flow_source, flow_interface, flow_vlan
    cdef Py_ssize_t longest, line_room
    cdef dict kinds, plans
    cdef object second, encode_json, alone, make_head, around, alert_parts
    cdef tuple origin
    """(source, interface, VLANs, the end of the heads of flows with these very objects)"""

    def __init__(self, *, dict kinds, Plan event, Plan alert, Plan head, Plan counts, Plan start, Plan identity,
                 Plan found, Plan facts, Py_ssize_t longest, second, encode_json, alone, make_head, around, alert_parts):
        """
        Args:
            kinds: by class of body.
            event, alert: plans of these records, for the places of their fields.
            head, counts, start: of a flow: the begin of its head, its counts, and its begin alone.
            identity, found, facts: of an alert: what stands before, between and behind the parts of its rule.
            longest: a line with more bytes is Python's.
            second: gives the text of a second since 1970.
            encode_json: msgspec's encoder.
            alone: gives the line of an event or alert.
            make_head: gives the whole head of a flow.
            around: gives protocol and labels of a line from its body and its flow.
            alert_parts: gives an alert's protocol, whether its flow is over, and three parts that are its rule's.
        """
        self.kinds, self.plans, self.longest, self.line_room = kinds, {}, longest, LEAST_ROOM
        self.event, self.alert, self.head, self.counts, self.start = event, alert, head, counts, start
        self.identity, self.found, self.facts = identity, found, facts
        self.second, self.encode_json, self.alone, self.make_head = second, encode_json, alone, make_head
        self.around, self.alert_parts, self.origin = around, alert_parts, (None, None, None, b"")
        place = event.layout.place
        self.event_time, self.event_body = place("time_ns"), place("body")
        self.event_flow, self.event_packet = place("flow"), place("packet")
        place = alert.layout.place
        self.alert_time, self.alert_flow, self.alert_packet = place("time_ns"), place("flow"), place("packet")
        self.alert_labels = place("labels")
        place = head.layout.place
        self.flow_head, self.flow_source = place("eve_head"), place("source")
        self.flow_interface, self.flow_vlan = place("interface"), place("vlan")

    def encode(self, items):
        """The lines of many items, as bytes."""
        cdef Py_ssize_t start, before
        cdef int done
        cdef Py_ssize_t count = len(items) if isinstance(items, (list, tuple)) else 1
        cdef JsonText out = JsonText(count * self.line_room + LEAST_ROOM, self.plans, self.second, self.encode_json)
        for item in items:
            start = out.used
            try:
                if type(item) is self.event.layout.record:
                    done = self.event_line(out, item)
                elif type(item) is self.alert.layout.record:
                    done = self.alert_line(out, item)
                else:
                    done = 0
            except UnicodeEncodeError:  # of Python's parts of a line
                done = 0
            if not done or out.used - start > self.longest or not is_harmless(out.begin + start, out.used - start):
                out.used = start
                out.put(self.alone(item))
        if count > 1:
            self.line_room = out.used // count + out.used // count // 8
        return out.taken()

    cdef int event_line(self, JsonText out, event) except -1:
        """The line of an event; 0 where it is Python's."""
        cdef Layout layout = self.event.layout
        cdef LineParts parts
        cdef bytes protocol
        cdef list labels = None
        body, flow = layout.read(event, self.event_body), layout.read(event, self.event_flow)
        parts = self.kinds.get(type(body))
        if parts is None or not self.stamp(out, layout.read(event, self.event_time)):
            return 0
        out.put(parts.name)
        protocol = parts.protocol
        if not parts.plain and flow is not None:
            protocol, labels = self.around(body, flow)
        if not self.middle(out, flow, protocol, layout.read(event, self.event_packet),
                           self.counts if parts.counted else None, labels):
            return 0
        out.put(parts.key)
        return out.record(body, parts.plan, 0) and out.raw(b"}\n", 2)

    cdef int alert_line(self, JsonText out, alert) except -1:
        """The line of an alert; 0 where it is Python's."""
        cdef Layout layout = self.alert.layout
        cdef bytes protocol, begin, identity, texts
        cdef Py_ssize_t start
        labels = layout.read(alert, self.alert_labels)
        if type(labels) is not list:
            return 0
        protocol, over, begin, identity, texts = self.alert_parts(alert)
        if not self.stamp(out, layout.read(alert, self.alert_time)):
            return 0
        out.raw(b'"event_type":"alert"', 20)
        if not self.middle(out, layout.read(alert, self.alert_flow), protocol, layout.read(alert, self.alert_packet),
                           self.counts if over else self.start, labels[:16] if len(labels) > 16 else labels):
            return 0
        out.raw(b',"alert":', 9)
        out.put(begin)
        start = out.used
        if not out.fields(alert, self.identity, 0):
            return 0
        out.begin[start] = c"{"
        out.put(identity)
        if not out.fields(alert, self.found, 0):
            return 0
        out.put(texts)
        return out.fields(alert, self.facts, 0) and out.raw(b"}}}}\n", 5)

    cdef int stamp(self, JsonText out, time_ns) except -1:
        out.raw(b'{"timestamp":"', 14)
        return out.time(<PyObject *>time_ns) and out.raw(b'",', 2)

    cdef int middle(self, JsonText out, flow, bytes protocol, packet, Plan counts, list labels) except -1:
        """What stands between event type and object: flow, protocol, frame number, counts, labels."""
        if flow is not None:
            if not self.put_head(out, flow):
                return 0
            out.put(protocol)
        if type(packet) is not int:
            return 0
        if packet != 0:
            out.raw(b',"pcap_cnt":', 12)
            if not out.integer(<PyObject *>packet):
                return 0
        if flow is not None and counts is not None:
            out.raw(b',"flow":', 8)
            if not out.record(flow, counts, 0):
                return 0
        if labels:
            out.raw(b',"traffic":{"label":', 20)
            return out.elements(labels, 0) and out.raw(b"}", 1)
        return 1

    cdef int put_head(self, JsonText out, flow) except -1:
        """The head of a flow, which is kept in its record; flows of one capture end their heads alike."""
        cdef Layout layout = self.head.layout
        cdef Py_ssize_t start = out.used, size
        cdef bytes head
        if type(flow) is not layout.record:
            return 0
        head = layout.read(flow, self.flow_head)
        if head:
            return out.put(head)
        if not out.fields(flow, self.head, 0):
            return 0
        source, interface = layout.read(flow, self.flow_source), layout.read(flow, self.flow_interface)
        vlan = layout.read(flow, self.flow_vlan)
        origin = self.origin
        if source is origin[0] and interface is origin[1] and vlan is origin[2]:
            out.put(origin[3])
            layout.write(flow, self.flow_head, PyBytes_FromStringAndSize(out.begin + start, out.used - start))
            return 1
        size = out.used - start
        head = self.make_head(flow)
        if type(vlan) is tuple and head.startswith(PyBytes_FromStringAndSize(out.begin + start, size)):
            self.origin = (source, interface, vlan, head[size:])
        out.used = start
        return out.put(head)
