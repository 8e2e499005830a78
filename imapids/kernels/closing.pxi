# The session records of plain dialogues that are over, where the verdict on such counts is remembered.
#
# It does what judge_plain (imapids/judge/remembered.py) and session_body (imapids/pipeline/session.py) do of them.

# Fields of the same name: what the record takes over from the flow, and from the dialogue, as it is.
_OF_FLOW = ("midstream", "limits", "bytes_client", "bytes_server", "direction", "state", "roles_by", "end_reason",
            "packets_client", "packets_server", "missing_client", "missing_server", "snapped", "anomalies")
_OF_PLAIN = ("software", "client_software", "starttls", "completed", "logins", "logins_failed")
cdef enum:
    FROM_FLOW = 14
    FROM_PLAIN = 6

cdef enum:
    FLOW_PACKETS_CLIENT = 8, FLOW_PACKETS_SERVER = 9
    FLOW_PROTOCOL = FROM_FLOW, FLOW_WATCHED, FLOW_TUNNELS, FLOW_START, FLOW_END
cdef enum:
    ENDED_COMPLETED = 3, ENDED_LOGINS = 4, ENDED_LOGINS_FAILED = 5
    ENDED_COMPLETED_OK = FROM_PLAIN, ENDED_SELECTED, ENDED_WAITING, ENDED_PACKET, ENDED_OFFSET, ENDED_GREETING
    ENDED_GREETING_PACKET, ENDED_LEARNED
cdef enum:
    SESSION_VERDICT = FROM_FLOW + FROM_PLAIN, SESSION_CONFIDENCE, SESSION_PROTOCOL, SESSION_EVIDENCE, SESSION_PACKETS
    SESSION_DURATION, SESSION_WATCHED, SESSION_HISTORY, SESSION_GREETING, SESSION_CAPABILITIES, SESSION_COMMANDS
    SESSION_TUNNELS
cdef enum:
    EVIDENCE_CODE, EVIDENCE_SIDE, EVIDENCE_PACKET, EVIDENCE_OFFSET, EVIDENCE_TEXT, EVIDENCE_FIELDS

_FLOW_NAMES = _OF_FLOW + ("protocol", "watched", "tunnels", "start_ns", "end_ns")
_ENDED_NAMES = _OF_PLAIN + ("completed_ok", "selected", "waiting", "completed_packet", "completed_offset", "greeting",
                            "greeting_packet", "learned")
_SESSION_NAMES = _OF_FLOW + _OF_PLAIN + (
    "verdict", "confidence", "protocol", "evidence", "packets", "duration_ms", "on_watched_port", "history", "greeting",
    "capabilities", "commands", "tunnels")
_EVIDENCE_NAMES = ("code", "side", "packet", "offset", "text")


cdef class PlainSessions:
    """Makes session records of plain dialogues."""

    cdef Layout flow, plain, session, evidence, greeting, learned
    cdef dict remembered
    cdef object alike
    cdef str greeting_code

    def __init__(self, *, classes, alike, dict remembered, str greeting_code):
        """
        Args:
            classes: Flow, PlainDialogue, Greeting, Capabilities, Evidence.
            alike: a Session with what is the same in all.
            remembered: verdicts by counts (judge/remembered.py).
            greeting_code: the code of evidence that stands in the greeting; all other stands at the first completion.
        """
        flow, plain, greeting, learned, evidence = classes
        self.flow, self.plain = Layout(flow, _FLOW_NAMES), Layout(plain, _ENDED_NAMES)
        self.session, self.evidence = Layout(type(alike), _SESSION_NAMES), Layout(evidence, _EVIDENCE_NAMES)
        self.greeting, self.learned = Layout(greeting, ("text",)), Layout(learned, ("words",))
        if self.evidence.count != EVIDENCE_FIELDS:
            raise TypeError("evidence has other fields than those that are written")
        self.alike, self.remembered, self.greeting_code = alike, remembered, greeting_code

    def make(self, flow, plain):
        """The record of a TCP flow that is over; None where it takes more than memory to judge it."""
        cdef Layout ended = self.plain
        self.flow.check(flow)
        ended.check(plain)
        completed, greeting = ended.read(plain, ENDED_COMPLETED), ended.read(plain, ENDED_GREETING)
        if ended.read(plain, ENDED_WAITING) is not None or greeting is None or not completed or not (
                self.flow.read(flow, FLOW_PACKETS_CLIENT) and self.flow.read(flow, FLOW_PACKETS_SERVER)
                and self.flow.read(flow, FLOW_PROTOCOL) == "TCP"):
            return None
        failed = ended.read(plain, ENDED_LOGINS_FAILED)
        known = self.remembered.get((
            completed, completed, ended.read(plain, ENDED_COMPLETED_OK),
            <Py_ssize_t>ended.read(plain, ENDED_SELECTED) > 0,
            <Py_ssize_t>ended.read(plain, ENDED_LOGINS) > <Py_ssize_t>failed))
        if known is None:
            return None
        return self.filled(self.session.copied(self.alike), flow, plain, known, greeting)

    cdef object filled(self, session, flow, plain, known, greeting):
        """Writes what differs from one to the other."""
        cdef Layout layout = self.session
        cdef Py_ssize_t place
        cdef long long took
        self.greeting.check(greeting)
        learned = self.plain.read(plain, ENDED_LEARNED)
        self.learned.check(learned)
        for place in range(FROM_FLOW):
            layout.write(session, place, self.flow.read(flow, place))
        for place in range(FROM_PLAIN):
            layout.write(session, FROM_FLOW + place, self.plain.read(plain, place))
        verdict, confidence, protocol, evidence = known
        greeting_text, tunnels = self.greeting.read(greeting, 0), self.flow.read(flow, FLOW_TUNNELS)
        layout.write(session, SESSION_VERDICT, verdict)
        layout.write(session, SESSION_CONFIDENCE, confidence)
        layout.write(session, SESSION_PROTOCOL, protocol)
        layout.write(session, SESSION_EVIDENCE, self.placed(evidence, plain, greeting_text))
        layout.write(session, SESSION_PACKETS, <Py_ssize_t>self.flow.read(flow, FLOW_PACKETS_CLIENT)
                     + <Py_ssize_t>self.flow.read(flow, FLOW_PACKETS_SERVER))
        took = <long long>self.flow.read(flow, FLOW_END) - <long long>self.flow.read(flow, FLOW_START)
        layout.write(session, SESSION_DURATION, (took - (999_999 if took < 0 else 0)) // 1_000_000)
        layout.write(session, SESSION_WATCHED, self.flow.read(flow, FLOW_WATCHED))
        layout.write(session, SESSION_HISTORY, [])
        layout.write(session, SESSION_GREETING, greeting_text)
        layout.write(session, SESSION_CAPABILITIES, self.learned.read(learned, 0))
        layout.write(session, SESSION_COMMANDS, self.plain.read(plain, ENDED_COMPLETED))
        layout.write(session, SESSION_TUNNELS, list(tunnels))
        return session

    cdef list placed(self, list evidence, plain, greeting_text):
        """What is remembered of evidence, where it stands in this dialogue."""
        cdef Layout layout = self.evidence
        cdef list placed = []
        cdef bint greets
        for code, side, text in evidence:
            greets = code == self.greeting_code
            made = layout.empty()
            layout.write(made, EVIDENCE_CODE, code)
            layout.write(made, EVIDENCE_SIDE, side)
            layout.write(made, EVIDENCE_PACKET,
                         self.plain.read(plain, ENDED_GREETING_PACKET if greets else ENDED_PACKET))
            layout.write(made, EVIDENCE_OFFSET, 0 if greets else self.plain.read(plain, ENDED_OFFSET))
            layout.write(made, EVIDENCE_TEXT, greeting_text if greets else text)
            placed.append(made)
        return placed
