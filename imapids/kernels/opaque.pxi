# Encrypted records of a TLS connection, from which nothing is to be learned but their number and size.
#
# It does what Conversation.feed (imapids/pipeline/conversation.py), TurnRecorder.add, Prefix.add and TlsStream.feed
# (imapids/parse/tls.py) do with such chunks. The first chunk that it does not know at a glance it leaves as it is.

cdef enum:
    TLS_CLEAR, TLS_COLLECT, TLS_DEAD, TLS_FIRST, TLS_HEAD, TLS_KIND, TLS_LEFT, TLS_LOST, TLS_RECORD_AT, TLS_RECORD_HEAD
    TLS_RECORD_OFFSET, TLS_SMALL, TLS_TENTATIVE
cdef enum:
    FACT_RECORDS, FACT_RECORDS_CLIENT, FACT_RECORDS_SERVER, FACT_BYTES_CLIENT, FACT_BYTES_SERVER, FACT_DATA
    FACT_OFFERED, FACT_ENCRYPTED_CLIENT, FACT_ENCRYPTED_SERVER
cdef enum:
    RECORDER_SIDE, RECORDER_LAST, RECORDER_ON
cdef enum:
    FIRST_DATA, FIRST_ENDED, FIRST_TURNS, FIRST_SIDE, FIRST_LIMIT, FIRST_TURN_LIMIT
cdef enum:
    RECORD_HEADER = 5
    TLS_ALERT = 21
    TLS_APPLICATION_DATA = 23

_TLS_NAMES = ("clear", "collect", "dead", "first", "head", "kind", "left", "lost", "record_at", "record_head",
              "record_offset", "small", "tentative")
_TLS_FACT_NAMES = ("valid_records", "records_client", "records_server", "application_bytes_client",
                   "application_bytes_server", "application_data", "choice_offered", "encrypted_client",
                   "encrypted_server")
_RECORDER_NAMES = ("_side", "_last_ns", "_recording")
_FIRST_NAMES = ("data", "ended", "turns", "first_side", "_limit", "_turn_limit")


@cython.final
cdef class OpaqueRecords:
    """Passes over chunks of encrypted records."""

    cdef Layout chunk, side, facts, turns, prefix
    cdef Py_ssize_t longest
    cdef object long_ago

    def __init__(self, *, classes, Py_ssize_t longest, long_ago):
        """
        Args:
            classes: StreamChunk, the state of one side, TlsFacts, TurnRecorder, Prefix.
            longest: bytes of a record that are allowed.
            long_ago: the time of a turn before the first one.
        """
        chunk, side, facts, turns, prefix = classes
        self.chunk, self.side = Layout(chunk, _CHUNK_NAMES), Layout(side, _TLS_NAMES)
        self.facts = Layout(facts, _TLS_FACT_NAMES)
        self.turns, self.prefix = Layout(turns, _RECORDER_NAMES), Layout(prefix, _FIRST_NAMES)
        self.longest, self.long_ago = longest, long_ago

    def pass_over(self, list pieces, Py_ssize_t at, tuple sides, facts, turns, bint foreign, prefix, list seen):
        """Takes chunks up to the first that holds anything else; its place.

        Args:
            at: where to begin among the pieces.
            sides: states of client and server.
            foreign: no IMAP is read in this conversation now.
            seen: bytes of both sides so far; of a side that said nothing yet no chunk is taken.
        """
        cdef Py_ssize_t side
        self.facts.check(facts)
        self.turns.check(turns)
        self.prefix.check(prefix)
        if not self.facts.read(facts, FACT_OFFERED):  # application data now is not that of TLS
            return at
        while at < len(pieces):
            piece = pieces[at]
            if type(piece) is not self.chunk.record:
                break
            side = self.chunk.read(piece, CHUNK_SIDE)
            data = self.chunk.read(piece, CHUNK_DATA)
            if not (0 <= side <= SERVER_SIDE and seen[side]) or type(data) is not bytes or not self.takes(
                    piece, <bytes>data, side, sides[side], facts):
                break
            seen[side] += PyBytes_GET_SIZE(<bytes>data)
            self.tell_turn(turns, piece, side, foreign)
            self.keep_first(prefix, side, <bytes>data)
            at += 1
        return at

    cdef bint takes(self, piece, bytes data, Py_ssize_t side, state, facts) except -1:
        """Takes a chunk, if it holds nothing but encrypted records; without a trace where it does not."""
        cdef Layout layout = self.side
        cdef const unsigned char* text = <const unsigned char*>PyBytes_AS_STRING(data)
        cdef Py_ssize_t end = PyBytes_GET_SIZE(data), position = 0, last = -1, records = 0, size = 0, step, left, kind
        cdef bint found = False
        layout.check(state)
        if (layout.read(state, TLS_CLEAR) or layout.read(state, TLS_COLLECT) or layout.read(state, TLS_DEAD)
                or layout.read(state, TLS_FIRST) or layout.read(state, TLS_HEAD) or layout.read(state, TLS_LOST)
                or layout.read(state, TLS_TENTATIVE)
                or not self.facts.read(facts, FACT_ENCRYPTED_SERVER if side else FACT_ENCRYPTED_CLIENT)):
            return False
        left, kind = layout.read(state, TLS_LEFT), layout.read(state, TLS_KIND)
        while position < end:
            if left:
                step = min(left, end - position)
                if kind == TLS_APPLICATION_DATA:
                    size += step
                left -= step
                position += step
            elif end - position >= RECORD_HEADER and self.is_header(text + position):
                last, kind, left = position, text[position], text[position + 3] << 8 | text[position + 4]
                position += RECORD_HEADER
                records += 1
                found = found or kind == TLS_APPLICATION_DATA
            else:
                return False
        layout.write(state, TLS_LEFT, left)
        if records:
            layout.write(state, TLS_KIND, kind)
            layout.write(state, TLS_SMALL, b"")
            layout.write(state, TLS_RECORD_HEAD, data[last : last + RECORD_HEADER])
            layout.write(state, TLS_RECORD_AT, self.located(piece, last))
            layout.write(state, TLS_RECORD_OFFSET, <Py_ssize_t>self.chunk.read(piece, CHUNK_OFFSET) + last)
            self.facts.add(facts, FACT_RECORDS, records)
            self.facts.add(facts, FACT_RECORDS_SERVER if side else FACT_RECORDS_CLIENT, records)
        if found:
            self.facts.write(facts, FACT_DATA, True)
        self.facts.add(facts, FACT_BYTES_SERVER if side else FACT_BYTES_CLIENT, size)
        return True

    cdef inline bint is_header(self, const unsigned char* text) noexcept:
        """Whether five bytes begin an alert, a handshake message or application data (`is_record_header`)."""
        cdef Py_ssize_t length = text[3] << 8 | text[4]
        return (TLS_ALERT <= text[0] <= TLS_APPLICATION_DATA and text[1] == 3 and text[2] <= 4
                and length <= self.longest and (length > 0 or text[0] == TLS_APPLICATION_DATA))

    cdef object located(self, piece, Py_ssize_t position):
        """Frame number and time of the packet that carried a byte (`StreamChunk.locate`)."""
        if self.chunk.read(piece, CHUNK_STARTS) is None:
            return self.chunk.read(piece, CHUNK_PACKET), self.chunk.read(piece, CHUNK_TIME)
        return piece.locate(position)

    cdef int tell_turn(self, turns, piece, Py_ssize_t side, bint foreign) except -1:
        """`TurnRecorder.add`; where nothing is recorded, only who spoke is noted."""
        cdef bint goes_on = <Py_ssize_t>self.turns.read(turns, RECORDER_SIDE) == side
        if self.turns.read(turns, RECORDER_ON) if goes_on else foreign:
            turns.add(piece, foreign)
        elif not goes_on:
            self.turns.write(turns, RECORDER_SIDE, side)
            self.turns.write(turns, RECORDER_LAST, self.long_ago)
            self.turns.write(turns, RECORDER_ON, False)
        return 0

    cdef int keep_first(self, prefix, Py_ssize_t side, bytes data) except -1:
        """`Prefix.add` of a stream that is not sniffed any more."""
        cdef Layout layout = self.prefix
        cdef list ended = layout.read(prefix, FIRST_ENDED)
        if ended[side]:
            return 0
        if layout.read(prefix, FIRST_SIDE) is None:
            layout.write(prefix, FIRST_SIDE, side)
        add_first(side, data, layout.read(prefix, FIRST_DATA), ended, layout.read(prefix, FIRST_TURNS),
                  layout.read(prefix, FIRST_LIMIT), layout.read(prefix, FIRST_TURN_LIMIT))
        return 0
