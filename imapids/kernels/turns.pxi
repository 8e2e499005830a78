# The fast reader of plain IMAP dialogues: whole turns, a command and its answer, that were read before.
#
# It does what PlainReader does with them (imapids/parse/plain_reader.py), on the same memory of turns. Whatever it
# does not know at a glance it leaves, untouched, to the Python code: it stops before that command.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport int64_t
from libc.string cimport memchr, memcmp, memcpy

cdef enum:
    MOST_REMEMBERED = 1024  # longer texts are not remembered (MEMO_BYTES)
    MOST_LITERALS = 204     # a remembered text announces at most so many: `{0}`, CR, LF
    MOST_TAG = 63
    MOST_BYTES = 0x7FFFFFFF # of a chunk, unless somebody says less
    LONGEST_SIZE = 9        # digits of the length of a literal

# The fields that are read or written, in the order of the names below.
cdef enum:
    EVENT_KIND, EVENT_TIME, EVENT_BODY, EVENT_FLOW, EVENT_PACKET, EVENT_KNOWN, EVENT_FIELDS
cdef enum:
    COMMAND_TAG, COMMAND_LINE_BYTES, COMMAND_DIRECTION, COMMAND_LONGEST, COMMAND_DURATION, COMMAND_ARGUMENTS
cdef enum:
    MESSAGE_ACTION, MESSAGE_DIRECTION, MESSAGE_MAILBOX, MESSAGE_COUNT, MESSAGE_BYTES, MESSAGE_BODIES, MESSAGE_OPAQUE
cdef enum:
    LOGIN_OUTCOME, LOGIN_USER, LOGIN_CODE, LOGIN_TAG, LOGIN_HASH, LOGIN_TRAITS, LOGIN_ATTEMPT, LOGIN_STARTTLS
    LOGIN_DISABLED, LOGIN_FORM, LOGIN_SOFTWARE, LOGIN_DIRECTION
cdef enum:
    PLAIN_FLOW, PLAIN_DIRECTION, PLAIN_STATE, PLAIN_ASKED, PLAIN_HEARD, PLAIN_TALLY, PLAIN_DONE, PLAIN_FIRST_CLIENT
    PLAIN_COMPLETED, PLAIN_COMPLETED_OK, PLAIN_COMPLETED_PACKET, PLAIN_COMPLETED_OFFSET, PLAIN_UNTAGGED, PLAIN_MORE
    PLAIN_EXISTS, PLAIN_MAILBOX, PLAIN_SELECTED, PLAIN_BYES, PLAIN_REFUSALS, PLAIN_LITERALS, PLAIN_LITERAL_BYTES
    PLAIN_LOGINS, PLAIN_LOGINS_FAILED, PLAIN_LEARNED, PLAIN_STARTTLS, PLAIN_SOFTWARE, PLAIN_CLIENT_SOFTWARE
    PLAIN_GREETING, PLAIN_GREETING_PACKET, PLAIN_WAITING, PLAIN_BYTES_CLIENT, PLAIN_BYTES_SERVER, PLAIN_KEPT
cdef enum:
    TURN_ORDER, TURN_TOLD, TURN_ANSWER, TURN_COMMAND, TURN_MESSAGE, TURN_LITERALS, TURN_UNTAGGED, TURN_OK, TURN_STATE
    TURN_SELECT, TURN_MORE
cdef enum:
    ORDER_NUMBERS, ORDER_LONGEST, ORDER_ARGUMENTS_AT, ORDER_MAILBOX, ORDER_SOFTWARE
cdef enum:
    DATA_WHOLE, DATA_EXISTS, DATA_BYES, DATA_SOFTWARE, DATA_LEARNED, DATA_STARTTLS, DATA_SPECIAL, DATA_TOUCHED
    DATA_LINES, DATA_UNTAGGED, DATA_FETCHED, DATA_EXPUNGED, DATA_FOUND
cdef enum:
    ANSWER_CODE, ANSWER_LEARNED
cdef enum:
    GREETING_SOFTWARE, GREETING_LEARNED
cdef enum:
    LEARNED_STARTTLS, LEARNED_DISABLED

_EVENT_NAMES = ("kind", "time_ns", "body", "flow", "packet", "known_ns")
_COMMAND_NAMES = ("tag", "line_bytes", "direction", "longest_argument", "duration_us", "arguments")
_MESSAGE_NAMES = ("action", "direction", "mailbox", "count", "bytes", "bodies", "opaque_body")
_LOGIN_NAMES = ("outcome", "user", "code", "tag", "secret_hash", "secret_traits", "attempt", "starttls_offered",
                "logindisabled", "form", "client_software", "direction")
_PLAIN_NAMES = ("flow", "direction", "state", "asked", "heard", "tally", "done", "first_packet_client",
                "completed", "completed_ok", "completed_packet", "completed_offset", "untagged", "more_lines",
                "exists", "mailbox", "selected", "byes", "refusals", "literals", "literal_bytes",
                "logins", "logins_failed", "learned", "starttls", "software", "client_software",
                "greeting", "greeting_packet", "waiting", "bytes_client", "bytes_server", "kept")
_TURN_NAMES = ("order", "told", "answer", "command", "message", "literals", "untagged", "ok", "state", "select", "more")
_ORDER_NAMES = ("numbers", "longest", "arguments_at", "mailbox", "software")
_DATA_NAMES = ("whole", "exists", "byes", "software", "learned", "starttls", "special", "touched", "lines", "untagged",
               "fetched", "expunged", "found")
_ANSWER_NAMES = ("code", "learned")
_GREETING_NAMES = ("software", "learned")
_LEARNED_NAMES = ("starttls", "logindisabled")


cdef struct Heard:
    # What the server's chunk holds. Pointers are into the chunk, which the caller holds, or to `room`.
    Py_ssize_t head           # bytes before the completion
    const char *text          # those bytes without their literals
    Py_ssize_t size           # of the text
    Py_ssize_t literals
    Py_ssize_t[MOST_LITERALS] start
    Py_ssize_t[MOST_LITERALS] length
    char[MOST_REMEMBERED] room


cdef struct Signing:
    # The words of a LOGIN: offsets into the line behind its tag.
    Py_ssize_t user, user_size, secret, secret_size, longest
    bint user_quoted, secret_quoted


cdef struct Counts:
    # What the responses before a completion add up to (parse/imap_pending.Tally).
    Py_ssize_t fetched, expunged, found, literal_bytes, bodies
    bint opaque


cdef bytes zeroed(const char *text, Py_ssize_t size):
    """The text with every digit as a zero (plain_data.ZEROS)."""
    cdef bytes made = PyBytes_FromStringAndSize(NULL, size)
    cdef char *to = PyBytes_AS_STRING(made)
    cdef Py_ssize_t at
    for at in range(size):
        to[at] = c'0' if c'1' <= text[at] <= c'9' else text[at]
    return made


cdef Py_ssize_t number_at(const char *text, Py_ssize_t start, Py_ssize_t end) except -1:
    """The number that stands there: decimal digits, as many as lengths have."""
    cdef Py_ssize_t number = 0
    if end - start > LONGEST_SIZE:
        raise ValueError("a number of too many digits")
    while start < end:
        if not c'0' <= text[start] <= c'9':
            raise ValueError("no number")
        number = 10 * number + text[start] - c'0'
        start += 1
    return number


cdef Py_ssize_t next_literal(const char *data, Py_ssize_t position, Py_ssize_t end, Py_ssize_t *length) noexcept:
    """Where the next literal begins, behind its `{length}`, CR, LF; -1: there is none."""
    cdef const char *brace
    cdef Py_ssize_t at, first
    while position < end:
        brace = <const char *>memchr(data + position, c'{', end - position)
        if brace is NULL:
            return -1
        at = first = brace - data + 1
        length[0] = 0
        while at < end and at - first < LONGEST_SIZE and c'0' <= data[at] <= c'9':
            length[0] = 10 * length[0] + data[at] - c'0'
            at += 1
        if at > first and end - at >= 3 and memcmp(data + at, b"}\r\n", 3) == 0:
            return at + 3
        position = first
    return -1


cdef bint leave_literals_out(const char *data, Heard *heard) noexcept:
    """Finds the literals in the responses, and the text without them; false where there is more than is remembered."""
    cdef Py_ssize_t position = 0, start, length = 0
    heard.text, heard.size, heard.literals = data, heard.head, 0
    if memchr(data, c'}', heard.head) is NULL:
        return heard.size <= MOST_REMEMBERED
    heard.size = 0
    while True:
        start = next_literal(data, position, heard.head, &length)
        if start < 0:
            break
        if heard.literals == MOST_LITERALS or heard.size + start - position > MOST_REMEMBERED:
            return False
        memcpy(heard.room + heard.size, data + position, start - position)
        heard.size += start - position
        heard.start[heard.literals] = start
        heard.length[heard.literals] = length
        heard.literals += 1
        position = start + length
        if position > heard.head:  # a lie: nothing is taken out
            return False
    if not heard.literals:
        heard.size = heard.head
        return heard.size <= MOST_REMEMBERED
    if heard.size + heard.head - position > MOST_REMEMBERED:
        return False
    memcpy(heard.room + heard.size, data + position, heard.head - position)
    heard.size += heard.head - position
    heard.text = heard.room
    return True


cdef class Turns:
    """Reads turns that are remembered."""

    cdef Talk talk
    cdef Layout event, command, message, login, plain, turn, order, data, answer, greeting, learned
    cdef dict greetings, orders, orders_alike, whole_turns
    cdef object login_order, no_login, login_form, hash_secret, safe_text, mail_header, remembered_tags
    cdef KeyedHash keyed
    cdef tuple usual_headers
    cdef bint want_commands, want_logins, want_messages
    cdef Py_ssize_t text_bytes, body_bytes, keep, most_tags, longest
    cdef bint[256] in_tag
    cdef bint[256] in_login
    cdef object form
    cdef int form_quoted
    cdef char[5] form_word
    """The form of the last sign-in, and what it was made of."""

    def __init__(self, *, classes, dict greetings, dict orders, dict orders_alike, dict whole_turns, login_order, login,
                 bytes tag_chars, bytes login_chars, login_form, hash_secret, KeyedHash keyed, safe_text, mail_header,
                 remembered_tags, tuple usual_headers, Py_ssize_t text_bytes, Py_ssize_t body_bytes,
                 Py_ssize_t memo_bytes, Py_ssize_t keep, Py_ssize_t most_tags, bint want_commands, bint want_logins,
                 bint want_messages):
        """
        Args:
            classes: StreamChunk, Event, Command, Message, PlainDialogue, Turn, Order, Data, Answer, Greeting,
                Capabilities.
            greetings, orders, orders_alike, whole_turns: the memory (plain_turns).
            login: a Login with what is the same in all; `login_order`: what is read of such a command.
            tag_chars, login_chars: what a tag is made of, and what plain words of a LOGIN are.
            login_form, safe_text, mail_header: as parse/plain_facts calls them.
            usual_headers: what most messages begin with.
            hash_secret, keep: see PlainReader; `keyed`: says the same of nearly all secrets, if it is not None.
            most_tags: of so many done commands a dialogue remembers them all; `remembered_tags` picks out of more.
        """
        chunk, event, command, message, plain, turn, order, data, answer, greeting, learned = classes
        self.talk, self.event = Talk(Layout(chunk, _CHUNK_NAMES)), Layout(event, _EVENT_NAMES)
        self.command, self.message = Layout(command, _COMMAND_NAMES), Layout(message, _MESSAGE_NAMES)
        self.login, self.plain = Layout(type(login), _LOGIN_NAMES), Layout(plain, _PLAIN_NAMES)
        self.turn, self.order = Layout(turn, _TURN_NAMES), Layout(order, _ORDER_NAMES)
        self.data, self.answer = Layout(data, _DATA_NAMES), Layout(answer, _ANSWER_NAMES)
        self.greeting, self.learned = Layout(greeting, _GREETING_NAMES), Layout(learned, _LEARNED_NAMES)
        if self.event.count != EVENT_FIELDS:
            raise TypeError("an event has other fields than those that are written")
        if memo_bytes > MOST_REMEMBERED:
            raise ValueError("longer texts are remembered than have room")
        self.greetings, self.orders, self.orders_alike = greetings, orders, orders_alike
        self.whole_turns, self.keep, self.most_tags = whole_turns, keep, most_tags
        self.login_order, self.no_login, self.login_form = login_order, login, login_form
        self.hash_secret, self.safe_text, self.mail_header = hash_secret, safe_text, mail_header
        self.keyed = keyed
        self.remembered_tags, self.longest = remembered_tags, MOST_BYTES
        self.usual_headers, self.text_bytes, self.body_bytes = usual_headers, text_bytes, body_bytes
        self.want_commands, self.want_logins, self.want_messages = want_commands, want_logins, want_messages
        for code in range(256):
            self.in_tag[code] = code in tag_chars
            self.in_login[code] = code in login_chars

    cpdef Py_ssize_t read(self, plain, list pieces, Py_ssize_t count, list events, list known) except -1:
        """Reads a greeting, and turns, from pieces[count] on, as long as they are remembered; how far it came."""
        self.talk.begin(pieces)
        try:
            return self.read_on(plain, count, events, known)
        finally:
            self.talk.end()

    cpdef int settle(self, plain, list pieces, Py_ssize_t count) except -1:
        """Notes how far both sides were read, and keeps their first bytes (PlainReader._settle)."""
        self.plain.check(plain)
        self.talk.begin(pieces)
        try:
            return self.settle_pieces(plain, count)
        finally:
            self.talk.end()

    cdef int settle_pieces(self, plain, Py_ssize_t count) except -1:
        """The same with the pieces of the talk."""
        cdef Layout state = self.plain
        self.keep_first(plain, count)
        asked, heard = state.read(plain, PLAIN_ASKED), state.read(plain, PLAIN_HEARD)
        if asked is not None:
            state.write(plain, PLAIN_BYTES_CLIENT, self.end_of(asked))
        if heard is not None:
            state.write(plain, PLAIN_BYTES_SERVER, self.end_of(heard))
            state.write(plain, PLAIN_HEARD, None)
        return self.forget_tags(plain)

    cdef int settle_late(self, plain, Py_ssize_t count) except -1:
        """The same behind what was read of segments: of the last turn the command is to be kept."""
        cdef Layout state = self.plain
        self.keep_first(plain, count)
        if count > 1:
            state.write(plain, PLAIN_ASKED, self.talk.chunk_at(count - 2))
            state.write(plain, PLAIN_BYTES_CLIENT, self.talk.end_at(count - 2))
        state.write(plain, PLAIN_BYTES_SERVER, self.talk.end_at(count - 1))
        return self.forget_tags(plain)

    cdef Py_ssize_t read_on(self, plain, Py_ssize_t count, list events, list known) except -1:
        """Reads from a place of the talk on; how far it came."""
        cdef Py_ssize_t last = self.talk.count - 1
        cdef Heard heard
        cdef Layout state = self.plain
        state.check(plain)
        if state.read(plain, PLAIN_GREETING) is None:
            if count > last or not self.greeted(plain, count):
                return count
            count += 1
        if state.read(plain, PLAIN_WAITING) is not None or state.read(plain, PLAIN_TALLY) is not None:
            return count
        while count < last and self.read_turn(plain, count, &heard, events, known):
            count += 2
        return count

    cdef int keep_first(self, plain, Py_ssize_t count) except -1:
        """Keeps the first bytes of both sides."""
        cdef Layout state = self.plain
        cdef Py_ssize_t client = state.read(plain, PLAIN_BYTES_CLIENT), server = state.read(plain, PLAIN_BYTES_SERVER)
        if client < self.keep or server < self.keep:
            first = self.talk.first_bytes(count, self.keep - client, self.keep - server)
            kept = state.read(plain, PLAIN_KEPT)
            if kept is None:
                state.write(plain, PLAIN_KEPT, [first])
            else:
                (<list?>kept).append(first)
        return 0

    cdef int forget_tags(self, plain) except -1:
        """Leaves out the tags of which nobody wants to know any more."""
        done = self.plain.read(plain, PLAIN_DONE)
        if len(<list?>done) > self.most_tags:
            self.plain.write(plain, PLAIN_DONE, list(self.remembered_tags(done)))
        return 0

    cdef Py_ssize_t end_of(self, chunk) except -1:
        """Where the stream stands behind a chunk."""
        cdef Layout layout = self.talk.chunk
        layout.check(chunk)
        return <Py_ssize_t>layout.read(chunk, CHUNK_OFFSET) + len(<bytes?>layout.read(chunk, CHUNK_DATA))

    cdef bint greeted(self, plain, Py_ssize_t place) except -1:
        """Reads the server's first line; false where it is none that is remembered (PlainReader._greeted)."""
        cdef Said said
        if not self.talk.said(place, self.longest, &said) or not said.of_server:
            return False
        greeting = self.greetings.get(said.data[:said.size])
        if greeting is None:
            return False
        self.greeting.check(greeting)
        if self.talk.pieces is not None:
            self.plain.write(plain, PLAIN_HEARD, self.talk.server)
        self.plain.write(plain, PLAIN_GREETING, greeting)
        self.plain.write(plain, PLAIN_GREETING_PACKET, said.packet)
        self.plain.write(plain, PLAIN_SOFTWARE, self.greeting.read(greeting, GREETING_SOFTWARE))
        learned = self.greeting.read(greeting, GREETING_LEARNED)
        if learned is not None:
            self.learn(plain, learned)
        return True

    cdef bint read_turn(self, plain, Py_ssize_t place, Heard *heard, list events, list known) except -1:
        """Reads the turn that begins at a place; false where it is none that is remembered."""
        cdef const char *line
        cdef const char *data
        cdef Py_ssize_t size, tag, at, end
        cdef Signing signing
        cdef Said asked, answer
        if (not self.talk.said(place, self.longest, &asked) or asked.of_server
                or not self.talk.said(place + 1, self.longest, &answer) or not answer.of_server
                or answer.size > self.longest):
            return False
        line, size, data, end = asked.data, asked.size, answer.data, answer.size
        tag = 0
        while tag < size and tag <= MOST_TAG and self.in_tag[<unsigned char>line[tag]]:
            tag += 1
        if not 0 < tag <= MOST_TAG or tag == size or line[tag] != c' ':
            return False
        at = self.completion(line, tag, data, end, heard)
        if at < 0:
            return False
        signing.longest = -1
        order = self.order_of(line + tag + 1, size - tag - 1, &signing)
        if order is None:
            return False
        state = self.plain.read(plain, PLAIN_STATE)
        if self.order.read(order, ORDER_NUMBERS):
            turn = self.whole_turns.get((order, state, zeroed(heard.text, heard.size), zeroed(data + at, end - at)))
        else:
            turn = self.whole_turns.get((order, state, heard.text[:heard.size], data[at:end]))
        if turn is None:
            return False
        self.turn.check(turn)
        if <Py_ssize_t>self.turn.read(turn, TURN_LITERALS) != heard.literals:
            return False
        self.complete(plain, turn, place, tag, &signing, &asked, &answer, heard, events, known)
        return True

    cdef Py_ssize_t completion(self, const char *line, Py_ssize_t tag, const char *data, Py_ssize_t end,
                               Heard *heard) noexcept:
        """Where the words of the completion with this tag stand in the last line; -1: there is none, or too much."""
        cdef Py_ssize_t start = end - 1
        while start > 0 and data[start - 1] != c'\n':
            start -= 1
        # the tag with the space behind it, as in the client's line
        if end - start <= tag or memcmp(data + start, line, tag + 1) != 0:
            return -1
        heard.head = start
        return start + tag + 1 if leave_literals_out(data, heard) else -1

    cdef object order_of(self, const char *rest, Py_ssize_t size, Signing *signing):
        """What the client's line says behind its tag; None: nobody knows. Of a LOGIN, `signing` gets the words."""
        if size > MOST_REMEMBERED:
            return None
        order = self.orders.get(rest[:size])
        if order is None:
            order = self.orders_alike.get(zeroed(rest, size))
        if order is None:
            if not self.signs_in(rest, size, signing):
                return None
            order = self.login_order
        self.order.check(order)
        return order

    cdef bint signs_in(self, const char *rest, Py_ssize_t size, Signing *signing) noexcept:
        """Whether the line is a LOGIN of two plain words (plain_turns.LOGIN_LINE, but for atoms that hold quotes)."""
        cdef Py_ssize_t at, run = 0, end = size - 2
        if size < 10 or memcmp(rest + end, b"\r\n", 2) != 0 or not (
                rest[0] | 32 == c'l' and rest[1] | 32 == c'o' and rest[2] | 32 == c'g' and rest[3] | 32 == c'i'
                and rest[4] | 32 == c'n' and rest[5] == c' '):
            return False
        at = self.word_end(rest, 6, end, &signing.user, &signing.user_size, &signing.user_quoted)
        if at < 0 or rest[at] != c' ':
            return False
        at = self.word_end(rest, at + 1, end, &signing.secret, &signing.secret_size, &signing.secret_quoted)
        if at != end:
            return False
        signing.longest = 0
        for at in range(6, end):
            run = 0 if rest[at] == c' ' else run + 1
            signing.longest = max(signing.longest, run)
        return True

    cdef Py_ssize_t word_end(self, const char *line, Py_ssize_t at, Py_ssize_t end, Py_ssize_t *start,
                             Py_ssize_t *size, bint *quoted) noexcept:
        """Where the quoted or bare word ends that begins at line[at]; -1: it is none, or holds `..`, a trait."""
        quoted[0] = at < end and line[at] == c'"'
        at += quoted[0]
        start[0] = at
        while at < end and (self.in_login[<unsigned char>line[at]] or (quoted[0] and line[at] == c' ')):
            if line[at] == c'.' and line[at + 1] == c'.':  # a line end follows at least
                return -1
            at += 1
        size[0] = at - start[0]
        if quoted[0]:
            return at + 1 if at < end and line[at] == c'"' else -1
        return at if size[0] else -1

    # ---- what a completion says ---------------------------------------------------------------------------------

    cdef int complete(self, plain, turn, Py_ssize_t place, Py_ssize_t tag, Signing *signing, Said *asked, Said *answer,
                      Heard *heard, list events, list known) except -1:
        """A command is over: its events, and what they change (PlainReader._complete)."""
        cdef Layout state = self.plain
        asked_ns, asked_packet, known_packet = asked.time_ns, asked.packet, answer.last_packet
        if answer.several:
            self.talk.locate(place + 1, heard.head, answer)
        word = PyUnicode_DecodeASCII(asked.data, tag, NULL)
        if self.talk.pieces is not None:
            state.write(plain, PLAIN_ASKED, self.talk.client)
            state.write(plain, PLAIN_HEARD, self.talk.server)
        if not <Py_ssize_t>state.read(plain, PLAIN_COMPLETED):
            state.write(plain, PLAIN_FIRST_CLIENT, asked_packet)
            state.write(plain, PLAIN_COMPLETED_PACKET, answer.packet)
            state.write(plain, PLAIN_COMPLETED_OFFSET, answer.offset + heard.head)
        state.add(plain, PLAIN_COMPLETED, 1)
        state.add(plain, PLAIN_COMPLETED_OK, self.turn.read(turn, TURN_OK))
        state.add(plain, PLAIN_UNTAGGED, self.turn.read(turn, TURN_UNTAGGED))
        state.write(plain, PLAIN_STATE, self.turn.read(turn, TURN_STATE))
        (<list?>state.read(plain, PLAIN_DONE)).append(asked.data[:tag])
        if self.want_commands:
            body = self.command_of(plain, turn, word, tag, signing, asked, answer)
            events.append(self.event_of("command", asked_ns, body, plain, asked_packet))
            known.append(known_packet)
        if self.turn.read(turn, TURN_MORE):
            body = self.more_of(plain, turn, word, asked, tag, signing, heard, answer)
            if body is not None:
                events.append(self.event_of(
                    "message" if signing.longest < 0 else "login", asked_ns, body, plain, asked_packet))
                known.append(known_packet)
        return 0

    cdef object event_of(self, kind, time_ns, body, plain, packet):
        """An event that was known when its command was sent."""
        cdef Layout layout = self.event
        event = layout.empty()
        layout.write(event, EVENT_KIND, kind)
        layout.write(event, EVENT_TIME, time_ns)
        layout.write(event, EVENT_BODY, body)
        layout.write(event, EVENT_FLOW, self.plain.read(plain, PLAIN_FLOW))
        layout.write(event, EVENT_PACKET, packet)
        layout.write(event, EVENT_KNOWN, time_ns)
        return event

    cdef object command_of(self, plain, turn, str word, Py_ssize_t tag, Signing *signing, Said *asked, Said *answer):
        """The event of the command itself."""
        cdef Layout layout = self.command
        cdef int64_t duration = answer.time_ns - asked.time_ns
        cdef Py_ssize_t at
        order, command = self.turn.read(turn, TURN_ORDER), self.turn.read(turn, TURN_COMMAND)
        layout.check(command)
        body = layout.copied(command)
        layout.write(body, COMMAND_TAG, word)
        layout.write(body, COMMAND_LINE_BYTES, asked.size - 2)
        layout.write(body, COMMAND_DIRECTION, self.plain.read(plain, PLAIN_DIRECTION))
        layout.write(body, COMMAND_LONGEST, self.order.read(order, ORDER_LONGEST) if signing.longest < 0
                     else signing.longest)
        layout.write(body, COMMAND_DURATION, duration // 1000 if duration > 0 else 0)
        at = self.order.read(order, ORDER_ARGUMENTS_AT)
        if at:
            layout.write(body, COMMAND_ARGUMENTS,
                         PyUnicode_DecodeASCII(asked.data + tag + 1 + at, max(asked.size - tag - 3 - at, 0), NULL))
        return body

    cdef object more_of(self, plain, turn, str word, Said *asked, Py_ssize_t tag, Signing *signing, Heard *heard,
                        Said *answer):
        """The event of a sign-in or of mailbox use, if it is one; and what the turn changes besides its counts."""
        cdef Counts counts
        told, said = self.turn.read(turn, TURN_TOLD), self.turn.read(turn, TURN_ANSWER)
        software = self.order.read(self.turn.read(turn, TURN_ORDER), ORDER_SOFTWARE)
        if software and not self.plain.read(plain, PLAIN_CLIENT_SOFTWARE):
            self.plain.write(plain, PLAIN_CLIENT_SOFTWARE, software)
        self.data.check(told)
        self.answer.check(said)
        if self.data.read(told, DATA_SPECIAL):
            self.hear(plain, told, heard)
        touched = self.data.read(told, DATA_TOUCHED)
        if touched:
            self.count_up(plain, told, heard, answer.data, &counts)
        if signing.longest >= 0:
            body = self.login_of(plain, turn, said, word, asked.data + tag + 1, signing)
        else:
            body = self.message_of(plain, turn, &counts if touched else NULL)
        learned = self.answer.read(said, ANSWER_LEARNED)
        if learned is not None:
            self.learn(plain, learned)
        return body

    cdef int learn(self, plain, learned) except -1:
        """The server told its capabilities (PlainDialogue.learn)."""
        self.learned.check(learned)
        self.plain.write(plain, PLAIN_LEARNED, learned)
        if self.learned.read(learned, LEARNED_STARTTLS):
            self.plain.write(plain, PLAIN_STARTTLS, "offered")
        return 0

    cdef int hear(self, plain, told, Heard *heard) except -1:
        """What responses say that belongs to no command (plain_facts.hear)."""
        cdef Layout state = self.plain
        cdef tuple place
        cdef Py_ssize_t byes = self.data.read(told, DATA_BYES), start, end
        exists = self.data.read(told, DATA_EXISTS)
        if exists is not None:
            place = exists
            start, end = place[0], place[1]
            if not 0 <= start < end <= heard.size:
                raise ValueError("a number outside of its text")
            state.write(plain, PLAIN_EXISTS, number_at(heard.text, start, end))
        state.add(plain, PLAIN_BYES, byes)
        state.add(plain, PLAIN_REFUSALS, byes)
        software = self.data.read(told, DATA_SOFTWARE)
        if software:
            state.write(plain, PLAIN_SOFTWARE, software)
        learned = self.data.read(told, DATA_LEARNED)
        if learned is not None:
            state.write(plain, PLAIN_LEARNED, learned)
            if self.data.read(told, DATA_STARTTLS):
                state.write(plain, PLAIN_STARTTLS, "offered")
        return 0

    cdef int count_up(self, plain, told, Heard *heard, const char *data, Counts *counts) except -1:
        """Adds up what responses say of messages (plain_facts.count_up, with a tally of its own)."""
        cdef Layout layout = self.data
        cdef list whole = layout.read(told, DATA_WHOLE)
        cdef Py_ssize_t place, found = layout.read(told, DATA_FOUND)
        counts.fetched, counts.expunged = layout.read(told, DATA_FETCHED), layout.read(told, DATA_EXPUNGED)
        counts.found, counts.literal_bytes, counts.bodies, counts.opaque = max(found, -1), 0, 0, False
        self.plain.add(plain, PLAIN_MORE,
                       <Py_ssize_t>layout.read(told, DATA_LINES) - <Py_ssize_t>layout.read(told, DATA_UNTAGGED))
        for place in range(heard.literals):
            counts.literal_bytes += heard.length[place]
            if whole[place]:
                counts.bodies += 1
                if not self.looks_like_mail(data + heard.start[place], heard.length[place]):
                    counts.opaque = True
        self.plain.add(plain, PLAIN_LITERALS, heard.literals)
        self.plain.add(plain, PLAIN_LITERAL_BYTES, counts.literal_bytes)
        return 0

    cdef bint looks_like_mail(self, const char *body, Py_ssize_t size) except -1:
        """Whether a body is empty or begins as messages do."""
        cdef bytes usual
        size = min(size, self.body_bytes)
        if not size:
            return True
        for usual in self.usual_headers:
            if PyBytes_GET_SIZE(usual) <= size and memcmp(
                    body, PyBytes_AS_STRING(usual), PyBytes_GET_SIZE(usual)) == 0:
                return True
        return self.mail_header(body[:size]) is not None

    cdef object message_of(self, plain, turn, Counts *counts):
        """The event of mailbox use, and what its command changes (PlainReader._message, plain_facts.counted)."""
        cdef Layout layout = self.message
        cdef bint select = self.turn.read(turn, TURN_SELECT)
        mailbox = self.order.read(self.turn.read(turn, TURN_ORDER), ORDER_MAILBOX)
        known = self.turn.read(turn, TURN_MESSAGE)
        message = None
        if known is not None and self.want_messages:
            layout.check(known)
            message = layout.copied(known)
            layout.write(message, MESSAGE_DIRECTION, self.plain.read(plain, PLAIN_DIRECTION))
            layout.write(message, MESSAGE_MAILBOX,
                         self.plain.read(plain, PLAIN_MAILBOX) if mailbox is None else mailbox)
            if select:
                layout.write(message, MESSAGE_COUNT, max(<Py_ssize_t>self.plain.read(plain, PLAIN_EXISTS), 0))
            elif counts is not NULL:
                self.count_into(message, counts)
        if select:
            ok = self.turn.read(turn, TURN_OK)
            self.plain.write(plain, PLAIN_MAILBOX, mailbox if ok and mailbox is not None else "")
            self.plain.add(plain, PLAIN_SELECTED, ok)
            self.plain.write(plain, PLAIN_EXISTS, -1)
        return message

    cdef int count_into(self, message, Counts *counts) except -1:
        """Writes what was counted into a new event."""
        cdef Layout layout = self.message
        action = layout.read(message, MESSAGE_ACTION)
        if action == "fetch":
            layout.write(message, MESSAGE_COUNT, counts.fetched)
            layout.write(message, MESSAGE_BYTES, counts.literal_bytes)
            layout.write(message, MESSAGE_BODIES, counts.bodies)
            layout.write(message, MESSAGE_OPAQUE, counts.opaque)
        elif action == "store":
            layout.write(message, MESSAGE_COUNT, counts.fetched)
        elif action == "search":
            layout.write(message, MESSAGE_COUNT, max(counts.found, 0))
        elif action == "expunge":
            layout.write(message, MESSAGE_COUNT, counts.expunged)
        return 0

    cdef object form_of(self, const char *words, Signing *signing):
        """How the sign-in is written (plain_facts.login_words): most are written as the one before was."""
        cdef int quoted = 2 * signing.user_quoted + signing.secret_quoted
        if self.form is None or quoted != self.form_quoted or memcmp(words, self.form_word, 5) != 0:
            self.form = self.login_form(words[:5], (signing.user_quoted, signing.secret_quoted))
            self.form_quoted = quoted
            memcpy(self.form_word, words, 5)
        return self.form

    cdef tuple hash_of(self, const char *words, Signing *signing):
        """The keyed hash of the secret, and its traits."""
        if self.hash_secret is None:
            return "", []
        if self.keyed is not None:
            hashed = self.keyed.plain(words + signing.user, signing.user_size, words + signing.secret,
                                      signing.secret_size)
            if hashed is not None:
                return hashed, []
        return self.hash_secret(words[signing.user:signing.user + signing.user_size],
                                words[signing.secret:signing.secret + signing.secret_size])

    cdef object login_of(self, plain, turn, answer, str word, const char *words, Signing *signing):
        """The event of a sign-in (PlainReader._login, plain_facts.login_words)."""
        cdef Layout layout = self.login
        cdef Layout state = self.plain
        cdef Py_ssize_t attempt = <Py_ssize_t>state.read(plain, PLAIN_LOGINS) + 1
        cdef bint ok = self.turn.read(turn, TURN_OK)
        if self.want_logins:
            hashed, traits = self.hash_of(words, signing)
            if signing.user_size <= self.text_bytes:
                name = PyUnicode_DecodeASCII(words + signing.user, signing.user_size, NULL)
            else:
                name = self.safe_text(words[signing.user:signing.user + signing.user_size], self.text_bytes)
            form = self.form_of(words, signing)
        state.write(plain, PLAIN_LOGINS, attempt)
        state.add(plain, PLAIN_LOGINS_FAILED, not ok)
        if not self.want_logins:
            return None
        learned = state.read(plain, PLAIN_LEARNED)
        self.learned.check(learned)
        login = layout.copied(self.no_login)
        layout.write(login, LOGIN_OUTCOME, "success" if ok else "failure")
        layout.write(login, LOGIN_USER, name)
        layout.write(login, LOGIN_CODE, self.answer.read(answer, ANSWER_CODE))
        layout.write(login, LOGIN_TAG, word)
        layout.write(login, LOGIN_HASH, hashed)
        layout.write(login, LOGIN_TRAITS, traits)
        layout.write(login, LOGIN_ATTEMPT, attempt)
        layout.write(login, LOGIN_STARTTLS, self.learned.read(learned, LEARNED_STARTTLS))
        layout.write(login, LOGIN_DISABLED, self.learned.read(learned, LEARNED_DISABLED))
        layout.write(login, LOGIN_FORM, form)
        layout.write(login, LOGIN_SOFTWARE, state.read(plain, PLAIN_CLIENT_SOFTWARE))
        layout.write(login, LOGIN_DIRECTION, state.read(plain, PLAIN_DIRECTION))
        return login
