# Plain dialogues from their greeting to their session record, and the first bytes of conversations that are peeked at,
# out of what flows brought.
#
# It does what Pipeline._take (imapids/pipeline/__init__.py) does with such updates. At the first thing that it does not
# know at a glance it hands the rest of the update back, and leaves all as if the flow had been read up to there.

cdef enum:
    UPDATE_FLOW, UPDATE_PIECES, UPDATE_KEY, UPDATE_LATE
cdef enum:
    BEGUN_PROTOCOL, BEGUN_MIDSTREAM, BEGUN_PEEKED, BEGUN_DIRECTION, BEGUN_START, BEGUN_PACKET
cdef enum:
    END_TIME, END_KNOWN

cdef enum:
    PEEKED_PREFIX, PEEKED_PACKET

_PEEKED_NAMES = ("_prefix", "first_packet")
_BEGUN_NAMES = ("protocol", "midstream", "peeked", "direction", "start_ns", "first_packet")


@cython.final
cdef class Dialogues:
    """Reads the plain dialogues of a run."""

    cdef Turns turns
    cdef PlainSessions sessions
    cdef Layout update, flow, end, session, peeked, prefix
    cdef Chunks chunks
    cdef object gap, fresh, tell_flow, begin_peeked, tell_peeked
    cdef dict conversations, verdicts
    cdef bint tell_sessions

    def __init__(self, *, Turns turns, PlainSessions sessions, classes, fresh, dict conversations, dict verdicts,
                 Py_ssize_t longest, bint tell_sessions, tell_flow, begin_peeked, tell_peeked):
        """
        Args:
            classes: FlowUpdate, Flow, StreamEnd, StreamGap, PeekedConversation, Prefix.
            fresh: a dialogue that has not begun.
            conversations: of all flows, by their keys; `verdicts`: sessions by verdict.
            longest: bytes of a chunk that is read in one go.
            tell_sessions: events are made of sessions; `tell_flow(flow, end)`, unless None, makes one of the flow.
            begin_peeked: makes a conversation that is peeked at; `tell_peeked(flow, conversation, end)`, told of its end.
        """
        update, flow, end, self.gap, peeked, prefix = classes
        self.update, self.flow = Layout(update, ("flow", "pieces", "key", "late")), Layout(flow, _BEGUN_NAMES)
        self.end, self.session = Layout(end, ("time_ns", "known")), sessions.session
        turns.plain.check(fresh)
        turns.longest = longest
        self.turns, self.sessions, self.fresh = turns, sessions, fresh
        self.conversations, self.verdicts = conversations, verdicts
        self.tell_sessions, self.tell_flow = tell_sessions, tell_flow
        self.peeked, self.prefix = Layout(peeked, _PEEKED_NAMES), Layout(prefix, _FIRST_NAMES)
        self.begin_peeked, self.tell_peeked, self.chunks = begin_peeked, tell_peeked, Chunks(turns.talk.chunk.record)

    def take(self, list updates, list events, list known, Py_ssize_t most):
        """Reads updates, the last of the list first, and takes them out of it; the first that is not read to its end.

        Returns:
            The rest of that update; None where none is left, or `most` events wait.
        """
        while updates and len(events) < most:
            update = updates.pop()
            self.update.check(update)
            if not self.read(update, events, known):
                return update
        return None

    cdef bint read(self, update, list events, list known) except -1:
        """Reads an update; false where something is left of it."""
        cdef Talk talk = self.turns.talk
        late = self.update.read(update, UPDATE_LATE)
        flow = self.update.read(update, UPDATE_FLOW)
        if type(flow) is self.flow.record and self.flow.read(flow, BEGUN_PEEKED):
            if late is not None:
                self.update.write(update, UPDATE_PIECES, late())
                self.update.write(update, UPDATE_LATE, None)
            return self.peek(flow, update)
        try:
            if type(late) is LateChunks:
                talk.begin_late(late)
            else:
                talk.begin(late() if late is not None else self.update.read(update, UPDATE_PIECES))
            return self.read_talk(talk, update, events, known)
        finally:
            talk.end()

    cdef bint read_talk(self, Talk talk, update, list events, list known) except -1:
        """The same of what was said."""
        cdef Py_ssize_t count = 0
        flow, key = self.update.read(update, UPDATE_FLOW), self.update.read(update, UPDATE_KEY)
        plain = self.conversations.get(key)
        if plain is None:
            if not talk.count or not self.greets(talk, flow):
                return self.left(talk, update, 0)
            plain = self.begun(flow)
            self.conversations[key] = plain
        elif type(plain) is not self.turns.plain.record:
            return self.left(talk, update, 0)
        count = self.turns.read_on(plain, 0, events, known)
        if count and talk.pieces is not None:
            self.turns.settle_pieces(plain, count)
        elif count:
            self.turns.settle_late(plain, count)
        if count == talk.count:
            return True
        if count == talk.count - 1 and self.closed(flow, plain, talk, count, events, known):
            del self.conversations[key]
            return True
        return self.left(talk, update, count)

    cdef bint left(self, Talk talk, update, Py_ssize_t count) except -1:
        """Leaves the pieces from there on in the update; false."""
        if count or self.update.read(update, UPDATE_LATE) is not None:
            self.update.write(update, UPDATE_PIECES, talk.rest(count))
            self.update.write(update, UPDATE_LATE, None)
        return False

    cdef bint peek(self, flow, update) except -1:
        """Keeps the first bytes of a conversation that is peeked at; false where it is read in another way."""
        cdef Layout prefixes = self.prefix
        cdef list turns, pieces = self.update.read(update, UPDATE_PIECES)
        if not pieces:
            return False
        key, last = self.update.read(update, UPDATE_KEY), pieces[len(pieces) - 1]
        peeked = self.conversations.get(key)
        if peeked is None:
            if type(pieces[0]) is self.end.record:  # nobody sent payload
                return True
            peeked = self.conversations[key] = self.begin_peeked()
        if type(peeked) is not self.peeked.record:
            return False
        prefix = self.peeked.read(peeked, PEEKED_PREFIX)
        prefixes.check(prefix)
        turns = prefixes.read(prefix, FIRST_TURNS)
        packet = self.chunks.first_bytes(
            pieces, self.gap, prefixes.read(prefix, FIRST_DATA), prefixes.read(prefix, FIRST_ENDED), turns,
            prefixes.read(prefix, FIRST_LIMIT), prefixes.read(prefix, FIRST_TURN_LIMIT))
        if turns and prefixes.read(prefix, FIRST_SIDE) is None:
            prefixes.write(prefix, FIRST_SIDE, (<tuple>turns[0])[0])
        if packet is not None and not self.peeked.read(peeked, PEEKED_PACKET):
            self.peeked.write(peeked, PEEKED_PACKET, packet)
        if type(last) is self.end.record:
            del self.conversations[key]
            self.tell_peeked(flow, peeked, last)
        return True

    cdef bint greets(self, Talk talk, flow) except -1:
        """Whether a flow begins with a server that greets (Pipeline._begin)."""
        cdef Said said
        if not talk.said(0, self.turns.longest, &said):
            return False
        self.flow.check(flow)
        return (said.size > 5 and memcmp(said.data, b"* OK ", 5) == 0 and said.of_server and said.offset == 0
                and self.flow.read(flow, BEGUN_PROTOCOL) == "TCP"
                and not self.flow.read(flow, BEGUN_MIDSTREAM) and not self.flow.read(flow, BEGUN_PEEKED))

    cdef object begun(self, flow):
        """A new dialogue of a flow."""
        cdef Layout layout = self.turns.plain
        plain = layout.copied(self.fresh)
        layout.write(plain, PLAIN_FLOW, flow)
        layout.write(plain, PLAIN_DIRECTION, self.flow.read(flow, BEGUN_DIRECTION))
        layout.write(plain, PLAIN_DONE, [])
        return plain

    cdef bint closed(self, flow, plain, Talk talk, Py_ssize_t place, list events, list known) except -1:
        """Tells of a dialogue that is over; false where it is not, or the judge is to be asked."""
        if talk.pieces is None:
            return False
        end = talk.pieces[place]
        if type(end) is not self.end.record:
            return False
        session = self.sessions.make(flow, plain)
        if session is None:
            return False
        verdict = self.session.read(session, SESSION_VERDICT)
        self.verdicts[verdict] = self.verdicts.get(verdict, 0) + 1
        if self.tell_sessions:
            events.append(self.event_of(session, flow, end))
            known.append(self.end.read(end, END_KNOWN))
        if self.tell_flow is not None:
            self.tell_flow(flow, end)
        return True

    cdef object event_of(self, session, flow, end):
        """The event of a session (Pipeline._tell_session)."""
        cdef Layout layout = self.turns.event
        event = layout.empty()
        layout.write(event, EVENT_KIND, "session")
        layout.write(event, EVENT_TIME, self.flow.read(flow, BEGUN_START))
        layout.write(event, EVENT_BODY, session)
        layout.write(event, EVENT_FLOW, flow)
        layout.write(event, EVENT_PACKET, self.flow.read(flow, BEGUN_PACKET))
        layout.write(event, EVENT_KNOWN, self.end.read(end, END_TIME))
        return event
