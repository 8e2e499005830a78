# What observers do with nearly every event: it is counted, and nothing follows of it. Each of these loops stops at the
# first event of which more may follow, before it changed anything for it: that one is for the observer's own code.

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE

_SEEN_EVENT = ("kind", "time_ns", "body", "flow", "packet", "known_ns")
cdef enum:
    SEEN_KIND, SEEN_TIME, SEEN_BODY, SEEN_FLOW, SEEN_PACKET, SEEN_KNOWN
_SEEN_FLOW = ("client", "server", "server_port", "protocol", "flow_id", "direction", "bytes_server", "first_packet")
cdef enum:
    WITH_CLIENT, WITH_SERVER, WITH_PORT, WITH_PROTOCOL, WITH_ID, WITH_DIRECTION, WITH_BYTES, WITH_FIRST
_SEEN_SESSION = ("bytes_client", "bytes_server", "duration_ms", "starttls", "protocol", "verdict", "shape", "direction",
                 "software", "logins", "capabilities")
cdef enum:
    SEEN_CLIENT_BYTES, SEEN_SERVER_BYTES, SEEN_DURATION, SEEN_STARTTLS, SEEN_PROTOCOL, SEEN_VERDICT, SEEN_SHAPE
    SEEN_DIRECTION, SEEN_SOFTWARE, SEEN_LOGINS, SEEN_CAPABILITIES
_SEEN_LOGIN = ("outcome", "user", "secret_hash")
cdef enum:
    SEEN_OUTCOME, SEEN_USER, SEEN_SECRET
_SEEN_MESSAGE = ("action", "bodies", "bytes", "mailbox", "opaque_body")
cdef enum:
    SEEN_ACTION, SEEN_BODIES, SEEN_SIZE, SEEN_MAILBOX, SEEN_OPAQUE
_SERVICE_NAMES = ("protocol", "software", "tls", "starttls_offered", "starttls_used", "sign_in_in_clear",
                  "signed_in_in_clear", "proxy")
cdef enum:
    SERVICE_PROTOCOL, SERVICE_SOFTWARE, SERVICE_TLS, SERVICE_OFFERED, SERVICE_USED, SERVICE_SIGN_IN, SERVICE_SIGNED_IN
    SERVICE_PROXY
_READING = ("start_ns", "bodies", "size", "opaque", "mailbox")
cdef enum:
    READING_START, READING_BODIES, READING_SIZE, READING_OPAQUE, READING_MAILBOX, READING_FIELDS
_PAIR = ("newest", "held", "count", "encrypted", "last", "told_ns", "verdicts")
cdef enum:
    PAIR_NEWEST, PAIR_HELD, PAIR_COUNT, PAIR_ENCRYPTED, PAIR_LAST, PAIR_TOLD, PAIR_VERDICTS
    FIRST_STEP = 10
_HISTORIES = ("memory", "free", "used")
cdef enum:
    HISTORIES_MEMORY, HISTORIES_FREE, HISTORIES_USED
    NO_ROW = -1


cdef class Seen:
    """Where the fields of events stand that observers look at."""

    cdef Layout event, flow, session, login, message

    def __init__(self, event, flow, session, login, message):
        self.event, self.flow = Layout(event, _SEEN_EVENT), Layout(flow, _SEEN_FLOW)
        self.session, self.login = Layout(session, _SEEN_SESSION), Layout(login, _SEEN_LOGIN)
        self.message = Layout(message, _SEEN_MESSAGE)


cdef class MailReads:
    """`Mailboxes.see` (imapids/observe/mailboxes.py): clients that only read, and who is signed in."""

    cdef Seen seen
    cdef Layout reading
    cdef object minute, followed
    cdef Py_ssize_t told_bodies, most_readers, most_users
    cdef int64_t window_ns

    def __init__(self, Seen seen, reading, *, minute, followed, Py_ssize_t told_bodies, Py_ssize_t most_readers,
                 Py_ssize_t most_users, int64_t window_ns):
        """
        Args:
            reading: the record of a client that only reads.
            minute: the kind of events that tell the time; followed: the actions that are counted one by one.
            told_bodies: a client that reads so many messages in `window_ns` is followed.
            most_readers: clients that are held; most_users: conversations whose user is.
        """
        self.seen, self.reading, self.minute, self.followed = seen, Layout(reading, _READING), minute, followed
        if self.reading.count != READING_FIELDS:
            raise TypeError("a reading has other fields than those that are written")
        self.told_bodies, self.most_readers, self.most_users = told_bodies, most_readers, most_users
        self.window_ns = window_ns

    def pass_over(self, list events, Py_ssize_t at, readings, clients, dict users, dict old_users, bint shared):
        """Goes on from `at` to the first event of which more may follow; returns its place, or the end.

        Args:
            readings: ordered by age; clients: that are followed. Both by client, server and port.
            users, old_users: by conversation; shared: mailboxes are followed.
        """
        cdef Seen seen = self.seen
        cdef Py_ssize_t i
        for i in range(at, len(events)):
            event = events[i]
            if type(event) is not seen.event.record:
                return i
            body, flow = seen.event.read(event, SEEN_BODY), seen.event.read(event, SEEN_FLOW)
            if type(flow) is not seen.flow.record:
                if flow is not None or seen.event.read(event, SEEN_KIND) == self.minute:
                    return i
            elif type(body) is seen.message.record:
                action = seen.message.read(body, SEEN_ACTION)
                if action == "fetch":
                    if seen.message.read(body, SEEN_BODIES) and (
                            shared or not self.only_reads(event, body, flow, readings, clients)):
                        return i
                elif action in self.followed:
                    return i
            elif type(body) is seen.session.record:
                number = seen.flow.read(flow, WITH_ID)
                users.pop(number, None)
                if old_users:
                    old_users.pop(number, None)
            elif type(body) is seen.login.record and seen.login.read(body, SEEN_OUTCOME) == "success":
                if len(users) + 1 >= self.most_users:
                    return i
                users[seen.flow.read(flow, WITH_ID)] = seen.login.read(body, SEEN_USER)
        return len(events)

    cdef bint only_reads(self, event, body, flow, readings, clients) except -1:
        """Counts whole messages of a client that did nothing else; false, and nothing counted, where more follows."""
        cdef Layout flows = self.seen.flow, messages = self.seen.message
        cdef int64_t time_ns = self.seen.event.read(event, SEEN_TIME)
        cdef Py_ssize_t bodies = messages.read(body, SEEN_BODIES)
        cdef PyObject *found
        key = flows.read(flow, WITH_CLIENT), flows.read(flow, WITH_SERVER), flows.read(flow, WITH_PORT)
        found = PyDict_GetItemWithError(readings, key)
        if found is NULL:
            if bodies >= self.told_bodies or len(readings) >= self.most_readers or clients(key) is not None:
                return False
            reading = self.reading.empty()
            self.reading.write(reading, READING_START, time_ns)
            self.reading.write(reading, READING_BODIES, bodies)
            self.reading.write(reading, READING_SIZE, messages.read(body, SEEN_SIZE))
            self.reading.write(reading, READING_OPAQUE, 1 if messages.read(body, SEEN_OPAQUE) else 0)
            self.reading.write(reading, READING_MAILBOX, messages.read(body, SEEN_MAILBOX))
            readings[key] = reading
            return True
        reading = <object>found
        self.reading.check(reading)
        bodies += <Py_ssize_t>self.reading.read(reading, READING_BODIES)
        if bodies >= self.told_bodies or (
                time_ns - self.window_ns >= <int64_t>self.reading.read(reading, READING_START)):
            return False
        size = messages.read(body, SEEN_SIZE) + self.reading.read(reading, READING_SIZE)
        opaque = self.reading.read(reading, READING_OPAQUE) + 1 if messages.read(body, SEEN_OPAQUE) else None
        self.reading.write(reading, READING_BODIES, bodies)
        self.reading.write(reading, READING_SIZE, size)
        self.reading.write(reading, READING_MAILBOX, messages.read(body, SEEN_MAILBOX))
        if opaque is not None:
            self.reading.write(reading, READING_OPAQUE, opaque)
        return True


cdef struct HistoryRow:  # `<qIIIi` (imapids/observe/histories.py)
    int64_t start_ns
    uint32_t client, server, took
    int32_t earlier


cdef class Connections:
    """`Beacons.see` (imapids/observe/beacons.py): connections of pairs that nothing is told of now."""

    cdef Seen seen
    cdef Layout pair, store
    cdef object histories, steps
    cdef dict places
    cdef Py_ssize_t most_pairs, most_units, most_held
    cdef int64_t told_each_ns
    cdef readonly Py_ssize_t held
    """Units of all pairs."""

    def __init__(self, Seen seen, pair, histories, *, Py_ssize_t row_bytes, dict places, steps, Py_ssize_t most_pairs,
                 Py_ssize_t most_units, Py_ssize_t most_held, int64_t told_each_ns):
        """
        Args:
            pair: the class of pairs; histories: where their units are; row_bytes: of its rows (`<qIIIi`).
            places: of verdicts in the counts of a pair; steps: counts at which pairs are told of.
            most_pairs: that are held; most_units: of a pair; most_held: of all.
            told_each_ns: after so long it is looked whether a pair is to be told of.
        """
        if row_bytes != sizeof(HistoryRow):
            raise TypeError("a row of the histories has another form than the one that is written")
        self.seen, self.pair, self.places, self.steps = seen, Layout(pair, _PAIR), places, steps
        self.histories, self.store = histories, Layout(type(histories), _HISTORIES)
        self.most_pairs, self.most_units, self.most_held = most_pairs, most_units, most_held
        self.told_each_ns = told_each_ns

    def pass_over(self, list events, Py_ssize_t at, pairs, Py_ssize_t held):
        """Goes on from `at` to the first event of which more may follow; returns its place, or the end.

        Args:
            pairs: by client, server, port and protocol: a pair, or the only connection so far.
            held: units of all pairs; afterwards the attribute says how many there are.
        """
        cdef Seen seen = self.seen
        cdef Py_ssize_t i
        cdef PyObject *found
        self.held = held
        for i in range(at, len(events)):
            event = events[i]
            if type(event) is not seen.event.record:
                return i
            body, flow = seen.event.read(event, SEEN_BODY), seen.event.read(event, SEEN_FLOW)
            if type(body) is not seen.session.record or type(flow) is not seen.flow.record:
                return i
            key = (seen.flow.read(flow, WITH_CLIENT), seen.flow.read(flow, WITH_SERVER),
                   seen.flow.read(flow, WITH_PORT), seen.flow.read(flow, WITH_PROTOCOL))
            found = PyDict_GetItemWithError(pairs, key)
            if found is NULL:
                if len(pairs) >= self.most_pairs:
                    return i
                pairs[key] = (
                    (seen.event.read(event, SEEN_TIME), seen.session.read(body, SEEN_CLIENT_BYTES),
                     seen.session.read(body, SEEN_SERVER_BYTES), seen.session.read(body, SEEN_DURATION)),
                    seen.session.read(body, SEEN_VERDICT), self.encrypted(body))
                continue
            pair = <object>found
            if type(pair) is tuple:
                pair = self.second(<tuple>pair, seen.event.read(event, SEEN_TIME))
                if pair is None or not self.add(pair, event, body, flow):
                    return i
                pairs[key] = pair
                self.held += 2
            elif not self.add(pair, event, body, flow):
                return i
            else:
                self.held += 1
        return len(events)

    cdef bint encrypted(self, body) except -1:
        """Whether a connection went into TLS."""
        return (self.seen.session.read(body, SEEN_STARTTLS) == "tls"
                or self.seen.session.read(body, SEEN_PROTOCOL) == "tls")

    cdef object second(self, tuple single, time_ns):
        """The pair of which only this connection was known; None where there is no room for another one."""
        cdef int64_t first_ns = single[0][0]
        if self.held + 2 > self.most_held or 2 >= self.most_units or <int64_t>time_ns - self.told_each_ns >= first_ns:
            return None
        pair = self.pair.record(first_ns)
        pair.add(self.histories, single[0], single[1], encrypted=single[2])
        return pair

    cdef bint add(self, pair, event, body, flow) except -1:
        """Adds a connection; false, and nothing added, where more follows."""
        cdef Layout layout = self.pair, session = self.seen.session
        cdef Py_ssize_t count, held, place
        cdef int64_t time_ns = self.seen.event.read(event, SEEN_TIME)
        cdef int64_t client, server, took
        cdef HistoryRow row
        layout.check(pair)
        verdicts = layout.read(pair, PAIR_VERDICTS)
        client, server, took = (session.read(body, SEEN_CLIENT_BYTES), session.read(body, SEEN_SERVER_BYTES),
                                session.read(body, SEEN_DURATION))
        count, held = <Py_ssize_t>layout.read(pair, PAIR_COUNT) + 1, <Py_ssize_t>layout.read(pair, PAIR_HELD) + 1
        if (held >= self.most_units or self.held >= self.most_held
                or (count >= FIRST_STEP and count in self.steps)
                or time_ns - self.told_each_ns >= <int64_t>layout.read(pair, PAIR_TOLD)
                or not 0 <= client <= 0xFFFFFFFF or not 0 <= server <= 0xFFFFFFFF or not 0 <= took <= 0xFFFFFFFF):
            return False
        place = self.places[session.read(body, SEEN_VERDICT)]
        (<list?>verdicts)[place] += 1
        last = (self.seen.event.read(event, SEEN_TIME), self.seen.event.read(event, SEEN_PACKET),
                self.seen.event.read(event, SEEN_KNOWN), flow, session.read(body, SEEN_PROTOCOL) or "",
                session.read(body, SEEN_SHAPE) or "", session.read(body, SEEN_DIRECTION))
        row.start_ns, row.client, row.server, row.took = time_ns, <uint32_t>client, <uint32_t>server, <uint32_t>took
        row.earlier = <int32_t><Py_ssize_t>layout.read(pair, PAIR_NEWEST)
        layout.write(pair, PAIR_NEWEST, self.written(&row))
        layout.write(pair, PAIR_HELD, held)
        layout.write(pair, PAIR_COUNT, count)
        if self.encrypted(body):
            layout.add(pair, PAIR_ENCRYPTED, 1)
        layout.write(pair, PAIR_LAST, last)
        return True

    cdef Py_ssize_t written(self, const HistoryRow *row) except -1:
        """Where this row stands now."""
        cdef Layout store = self.store
        cdef Py_ssize_t place, at
        cdef HistoryRow *rows
        store.check(self.histories)
        memory = store.read(self.histories, HISTORIES_MEMORY)
        rows, at = <HistoryRow *>PyByteArray_AS_STRING(<bytearray?>memory), store.read(self.histories, HISTORIES_FREE)
        place = at if at != NO_ROW else store.read(self.histories, HISTORIES_USED)
        if not 0 <= place < PyByteArray_GET_SIZE(memory) // <Py_ssize_t>sizeof(HistoryRow):
            raise IndexError("no row is left in the histories")
        if at != NO_ROW:
            store.write(self.histories, HISTORIES_FREE, <Py_ssize_t>rows[place].earlier)
        else:
            store.write(self.histories, HISTORIES_USED, place + 1)
        rows[place] = row[0]
        return place


cdef class Speeches:
    """`ExposureObserver.see` (imapids/observe/exposure.py): what sessions say of their servers."""

    cdef Seen seen
    cdef Layout service
    cdef object endpoint, is_relayed

    def __init__(self, Seen seen, *, service, endpoint, is_relayed):
        """
        Args:
            service: the class of bodies that say what is on other mail ports.
            endpoint: the hash of a server's address, port and transport (6 or 17).
            is_relayed: whether a user name also names a server to go on to; asked only where one of `#:@` is in it.
        """
        self.seen, self.endpoint, self.is_relayed = seen, endpoint, is_relayed
        self.service = Layout(service, _SERVICE_NAMES)

    def pass_over(self, list events, list known, Py_ssize_t at, set relayed_flows, list waiting):
        """Goes on from `at` to the first event that is no session, service or ordinary login; returns its place.

        Args:
            known: the packets that made the events known.
            relayed_flows: conversations whose user names a server to go on to; waiting: takes what is said.
        """
        cdef Seen seen = self.seen
        cdef Py_ssize_t i
        cdef bint relayed
        if len(known) != len(events):
            raise ValueError("one packet for each event")
        for i in range(at, len(events)):
            event = events[i]
            if type(event) is not seen.event.record:
                return i
            body, flow = seen.event.read(event, SEEN_BODY), seen.event.read(event, SEEN_FLOW)
            if type(flow) is not seen.flow.record:
                if flow is not None:
                    return i
            elif type(body) is seen.session.record:
                number = seen.flow.read(flow, WITH_ID)
                relayed = bool(relayed_flows) and number in relayed_flows
                if relayed:
                    relayed_flows.discard(number)
                if seen.flow.read(flow, WITH_BYTES):
                    waiting.append(self.speech(known[i], flow, body, self.of_session(flow, body, relayed), relayed))
            elif type(body) is self.service.record:
                waiting.append(self.speech(known[i], flow, body, self.of_service(flow, body), False))
            elif type(body) is seen.login.record:
                user = seen.login.read(body, SEEN_USER)
                if "#" in <str?>user or ":" in <str?>user or "@" in <str?>user:
                    if self.is_relayed(user):
                        return i
            else:
                return i
        return len(events)

    cdef tuple speech(self, number, flow, body, tuple saying, bint relayed):
        """What the server of a conversation said, and what matters of it."""
        cdef Layout flows = self.seen.flow
        return (number, flows.read(flow, WITH_FIRST),
                self.endpoint(flows.read(flow, WITH_SERVER), flows.read(flow, WITH_PORT),
                              6 if flows.read(flow, WITH_PROTOCOL) == "TCP" else 17),
                saying, flow, body, relayed)

    cdef tuple of_session(self, flow, body, bint relayed):
        """What matters of a session."""
        cdef Layout flows = self.seen.flow, session = self.seen.session
        return (flows.read(flow, WITH_SERVER), flows.read(flow, WITH_PORT), flows.read(flow, WITH_DIRECTION),
                session.read(body, SEEN_VERDICT), session.read(body, SEEN_PROTOCOL), session.read(body, SEEN_SOFTWARE),
                session.read(body, SEEN_STARTTLS), <Py_ssize_t>session.read(body, SEEN_LOGINS) > 0, relayed
                ) + tuple(session.read(body, SEEN_CAPABILITIES))

    cdef tuple of_service(self, flow, body):
        """What matters of a service."""
        cdef Layout flows = self.seen.flow, service = self.service
        return (flows.read(flow, WITH_SERVER), flows.read(flow, WITH_PORT), flows.read(flow, WITH_DIRECTION),
                service.read(body, SERVICE_PROTOCOL), service.read(body, SERVICE_SOFTWARE),
                service.read(body, SERVICE_TLS), service.read(body, SERVICE_OFFERED), service.read(body, SERVICE_USED),
                service.read(body, SERVICE_SIGN_IN), service.read(body, SERVICE_SIGNED_IN)
                ) + tuple(service.read(body, SERVICE_PROXY))


def unsaid(list speeches, Py_ssize_t at, set sayings):
    """The place of the first speech from `at` on that says what is not among the sayings, or the end."""
    cdef Py_ssize_t i
    cdef tuple speech
    for i in range(at, len(speeches)):
        speech = speeches[i]
        if speech[3] not in sayings:
            return i
    return len(speeches)


def speeches_by(list speeches, int64_t[::1] known, uint64_t[::1] first, uint64_t[::1] endpoint):
    """The first three parts of speeches as columns, of shape (speeches,)."""
    cdef Py_ssize_t i
    cdef tuple speech
    for i in range(len(speeches)):
        speech = speeches[i]
        known[i], first[i], endpoint[i] = speech[0], speech[1], speech[2]


cdef class SignIns:
    """`Logins.see` and `SharedSecrets.see` (imapids/observe/logins.py, shared_secrets.py)."""

    cdef Seen seen
    cdef object minute

    def __init__(self, Seen seen, *, minute):
        """`minute`: the kind of events that tell the time."""
        self.seen, self.minute = seen, minute

    def until_minute(self, list events, Py_ssize_t at):
        """The place of the next minute (or the end), the newest time before it, and whether a login failed there."""
        cdef Layout layout = self.seen.event
        cdef Py_ssize_t i
        cdef int64_t latest = INT64_MIN
        cdef bint failed = False
        for i in range(at, len(events)):
            event = events[i]
            layout.check(event)
            if layout.read(event, SEEN_KIND) == self.minute:
                return i, latest, failed
            body = layout.read(event, SEEN_BODY)
            self.seen.login.check(body)
            latest = max(latest, <int64_t>layout.read(event, SEEN_TIME))
            failed = failed or self.seen.login.read(body, SEEN_OUTCOME) == "failure"
        return len(events), latest, failed

    def other_user(self, list events, Py_ssize_t at, dict users):
        """Goes on from `at` to the first successful login whose secret another user had first; its place, or the end.

        Args:
            users: the first users of secrets; it takes those of secrets that are new.
        """
        cdef Layout layout = self.seen.login
        cdef Py_ssize_t i
        cdef PyObject *found
        for i in range(at, len(events)):
            event = events[i]
            self.seen.event.check(event)
            body = self.seen.event.read(event, SEEN_BODY)
            layout.check(body)
            secret = layout.read(body, SEEN_SECRET)
            if not secret or layout.read(body, SEEN_OUTCOME) != "success":
                continue
            user = layout.read(body, SEEN_USER)
            found = PyDict_GetItemWithError(users, secret)
            if found is NULL:
                users[secret] = user
            elif <object>found != user:
                return i
        return len(events)
