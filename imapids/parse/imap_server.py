"""The server's half of the IMAP machine: greeting, completions, data, continuations, and whatever is none of these."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imapids.parse import imap_replies as replies
from imapids.parse.imap_client import register
from imapids.parse.imap_commands import AUTHENTICATE, COMPRESS, IDLE, LOGIN, SELECT, STARTTLS, redact
from imapids.parse.imap_events import MAIL_HEADER, mailbox_of, tell
from imapids.parse.imap_pending import Early, Pending
from imapids.parse.imap_replies import TAGGED_MEMO, UNTAGGED_MEMO, Reply, read_tagged, read_untagged
from imapids.protocols.imap_commands import NEXT_STATE, STATE_NAMES, UNKNOWN_STATE, State
from imapids.protocols.imap_grammar import AFTER_LITERAL, ANSWER_TO_NONSENSE, CONTINUATION, GREETING, is_binary
from imapids.protocols.imap_responses import CLEARTEXT_BAN
from imapids.protocols.imap_sasl import SECURITY_LAYERS
from imapids.protocols.imap_software import server_software
from imapids.protocols.text import safe_text
from imapids.records.streams import CLIENT, SERVER

if TYPE_CHECKING:
    from imapids.parse.imap import ImapDialogue

BODY_BYTES = 512
"""First bytes of a fetched message that are kept: a mail header shows itself within them."""
DONE_TAGS = 64
"""Tags of completed commands that are remembered."""
NOT_AUTHENTICATED = int(State.NOT_AUTHENTICATED)
LOGOUT = int(State.LOGOUT)


def read_line(dialogue: ImapDialogue, line: bytes, packet: int, time_ns: int, offset: int) -> None:
    """One line of the server, without its end."""
    if dialogue.tally.reply is not None:
        _continue_response(dialogue, dialogue.tally.reply, line, packet, offset)
        return
    if not dialogue.greeted:
        _read_greeting(dialogue, line, packet, time_ns, offset)
        return
    if line[:2] == b"* ":
        reply = UNTAGGED_MEMO.get(line) or read_untagged(line, dialogue.limits)
        if reply is not None:
            if reply.plain and reply.legal & dialogue.state and not dialogue.reader_server.lost:
                facts = dialogue.facts_
                facts.untagged += 1
                if facts.client_nonsense and reply.result in ("bad", "no"):
                    facts.answers_to_nonsense += 1
                return
            _read_untagged(dialogue, reply, line, packet, time_ns, offset)
            return
    else:
        tag, _, rest = line.partition(b" ")
        pending = dialogue.pending.get(tag)
        if pending is not None:
            answer = TAGGED_MEMO.get(rest) or read_tagged(rest)
            if answer is not None:
                complete(dialogue, pending, answer, packet, time_ns, offset)
                return
        if line[:1] == b"+" and CONTINUATION.match(line):
            dialogue.facts_.continuations += 1
            if dialogue.building is not None or dialogue.exchange is not None or dialogue.idling is not None:
                dialogue.facts_.prompts += 1
                if dialogue.exchange is not None and dialogue.building is None:
                    dialogue.exchange.prompts += 1
            dialogue.reader_server.lost = False
            return
        answer = read_tagged(rest) if rest else None
        if answer is not None and tag:
            _read_unmatched(dialogue, tag, answer, line, packet, time_ns, offset)
            return
    _read_nonsense(dialogue, line, packet, time_ns, offset)


def _read_greeting(dialogue: ImapDialogue, line: bytes, packet: int, time_ns: int, offset: int) -> None:
    """RFC 9051 7.1: the first line of a server."""
    dialogue.greeted = True
    facts = dialogue.facts_
    match = GREETING.match(line)
    if match is None and dialogue.reader_server.cut and not dialogue.certain_server:
        return  # the head of a greeting, perhaps; a gap hides the rest
    if match is None:
        facts.greeting_missing = True
        dialogue.note("no-greeting", SERVER, packet, offset, redact(line, 80))
        read_line(dialogue, line, packet, time_ns, offset)
        return
    facts.greeting = match[1].decode().lower()
    facts.greeting_text = safe_text(line, dialogue.limits.text_bytes)
    facts.greeting_packet = packet
    facts.software = server_software(line)
    if facts.greeting == "preauth":
        facts.preauth = True
        dialogue.state = int(State.AUTHENTICATED)
    elif facts.greeting == "bye":
        facts.byes += 1
        dialogue.state = LOGOUT
    reply = read_untagged(line, dialogue.limits)
    if reply is not None and reply.capabilities is not None:
        _learn_capabilities(dialogue, reply.capabilities)


def _read_untagged(dialogue: ImapDialogue, reply: Reply, line: bytes, packet: int, time_ns: int, offset: int) -> None:
    facts, tally = dialogue.facts_, dialogue.tally
    kind = reply.kind
    reader = dialogue.reader_server
    if kind == replies.UNKNOWN:
        if reader.lost:
            return
    else:
        facts.untagged += 1
        reader.lost = False
        if not reply.legal & dialogue.state and dialogue.state == NOT_AUTHENTICATED:
            _note_before_login(dialogue, line, packet, offset)
        if kind == replies.FETCH:
            tally.fetched += 1
            tally.touched = True
        elif kind == replies.EXISTS:
            tally.exists = reply.count
        elif kind == replies.EXPUNGE:
            tally.expunged += 1
            tally.touched = True
        elif kind == replies.SEARCH:
            tally.found = max(tally.found, 0) + reply.count
            tally.touched = True
        elif kind == replies.BYE:
            facts.byes += 1
            dialogue.state = LOGOUT
            if dialogue.reader_client.offset:
                facts.refusals += 1
        elif kind == replies.ID and reply.software:
            facts.software = reply.software
        if reply.capabilities is not None:
            _learn_capabilities(dialogue, reply.capabilities)
        if reply.result in ("bad", "no") and facts.client_nonsense:
            facts.answers_to_nonsense += 1
        if reply.opaque is not None:
            _note_opaque(dialogue, reply.opaque, packet, offset)
    if reply.literal >= 0 and not reader.cut:
        _expect_literal(dialogue, reply, reply.literal, reply.whole_body, packet, time_ns)


def _note_before_login(dialogue: ImapDialogue, line: bytes, packet: int, offset: int) -> None:
    """Mailbox data before a login: impossible, unless a login is under way whose completion comes after the data."""
    if not dialogue.certain_state or any(
        each.shape.code in (LOGIN, AUTHENTICATE) or each.shape.spec is None for each in dialogue.pending.values()
    ):
        return
    dialogue.broken("before_login")
    dialogue.note("data-before-login", SERVER, packet, offset, redact(line, 80))


def _note_opaque(dialogue: ImapDialogue, token: bytes, packet: int, offset: int) -> None:
    dialogue.facts_.opaque_texts += 1
    dialogue.note("opaque-response-text", SERVER, packet, offset, f"[{len(token)} characters]")


def _learn_capabilities(dialogue: ImapDialogue, capabilities: list[str]) -> None:
    facts = dialogue.facts_
    facts.capabilities = capabilities
    facts.logindisabled = CLEARTEXT_BAN.decode() in capabilities
    if not facts.starttls and "STARTTLS" in capabilities:
        facts.starttls = "offered"


# ---------------------------------------------------------------- literals


def _expect_literal(
    dialogue: ImapDialogue, reply: Reply, size: int, whole_body: bool, packet: int, time_ns: int
) -> None:
    tally, reader = dialogue.tally, dialogue.reader_server
    tally.reply = reply
    tally.touched = True
    tally.literal_bytes += size
    dialogue.facts_.literal_bytes += size
    if size > 0xFFFFFFFF:
        dialogue.limit("imap-literal-too-large", packet, time_ns)
    if whole_body:
        tally.bodies += 1
    reader.expect(size, BODY_BYTES if whole_body else 0)
    if size == 0:
        dialogue.literal_done(SERVER, b"")


def literal_done(dialogue: ImapDialogue, head: bytes) -> None:
    """The last byte of a literal of the server was read."""
    if head and not MAIL_HEADER.match(head):
        dialogue.tally.opaque = True


def _continue_response(dialogue: ImapDialogue, reply: Reply, line: bytes, packet: int, offset: int) -> None:
    """What follows a literal: the response goes on, announces another one, or ends."""
    dialogue.tally.reply = None
    if line and line[:1] not in AFTER_LITERAL:
        if dialogue.certain_server:
            dialogue.facts_.literal_lies += 1
            dialogue.note(
                "literal-lies",
                SERVER,
                packet,
                offset,
                f"[{len(line)} bytes]" if is_binary(line) else safe_text(line[:1], 1) + "...",
            )
            dialogue.start_foreign(SERVER, line)
        return
    size, whole_body = replies.continued(line, reply, dialogue.limits)
    if size >= 0 and not dialogue.reader_server.cut:
        _expect_literal(dialogue, reply, size, whole_body, packet, 0)


# ---------------------------------------------------------------- completions


def complete(dialogue: ImapDialogue, pending: Pending, reply: Reply, packet: int, time_ns: int, offset: int) -> None:
    """The tagged answer to a command that was sent."""
    facts, tag = dialogue.facts_, pending.tag
    facts.tagged += 1
    reader = dialogue.reader_server
    if reader.lost:
        reader.lost = False
    if pending.twin is not None:
        pending = _oldest_twin(pending)
    else:
        del dialogue.pending[tag]
    done = dialogue.done_tags
    done[tag] = None
    if len(done) > DONE_TAGS:
        del done[next(iter(done))]
    shape, result = pending.shape, reply.result
    spec = shape.spec
    if not facts.completed:
        facts.completed_packet, facts.completed_offset = packet, offset
    facts.completed += 1
    if result == "ok":
        facts.completed_ok += 1
        if spec is not None:
            if spec.states & (dialogue.state | pending.state):
                facts.completed_legal += 1
            elif spec.strict and dialogue.certain_state:
                dialogue.broken("impossible")
                dialogue.note(
                    "success-in-impossible-state",
                    SERVER,
                    packet,
                    offset,
                    f"{shape.name} {STATE_NAMES.get(dialogue.state, 'unknown')}",
                )
            if shape.opaque:
                facts.opaque_arguments += 1
                dialogue.note(
                    "opaque-argument",
                    CLIENT,
                    pending.packet,
                    pending.offset,
                    f"{shape.name} [{shape.size - len(shape.name) - 1} bytes]",
                )
        elif dialogue.state == NOT_AUTHENTICATED:
            dialogue.state = UNKNOWN_STATE  # a vendor's command of its own may sign in
    if reply.opaque is not None and shape.code != AUTHENTICATE:
        _note_opaque(dialogue, reply.opaque, packet, offset)
    tell(dialogue, pending, result, reply, time_ns)
    target = NEXT_STATE.get((shape.name, result))
    if target is not None:
        dialogue.state = target
    if reply.capabilities is not None:
        _learn_capabilities(dialogue, reply.capabilities)
    if shape.code:
        _special(dialogue, pending, shape.code, result, packet, time_ns)
    if dialogue.tally.touched:
        dialogue.tally.clear()


def _oldest_twin(pending: Pending) -> Pending:
    """Of several commands with one tag, the one that was sent first."""
    last = pending
    while last.twin is not None and last.twin.twin is not None:
        last = last.twin
    oldest = last.twin
    assert oldest is not None
    last.twin = None
    return oldest


def _special(dialogue: ImapDialogue, pending: Pending, code: int, result: str, packet: int, time_ns: int) -> None:
    facts = dialogue.facts_
    if code == SELECT:
        dialogue.mailbox = mailbox_of(dialogue, pending) if result == "ok" else ""
        facts.selected += result == "ok"
        dialogue.tally.exists = -1
    elif code == STARTTLS:
        facts.upgrade_packet = packet
        facts.starttls = "accepted" if result == "ok" else "refused"
        dialogue.answer_upgrade(result == "ok", packet, time_ns)
    elif code == COMPRESS:
        facts.upgrade_packet = packet
        facts.compress = "active" if result == "ok" else "refused"
        dialogue.answer_upgrade(result == "ok", packet, time_ns)
    elif code == IDLE:
        dialogue.idling = None
    elif code == AUTHENTICATE:
        exchange = dialogue.exchange
        dialogue.exchange = None
        if result == "ok" and exchange is not None and exchange.mechanism in SECURITY_LAYERS:
            facts.sasl_packet = packet
            dialogue.reader_client.expect_frames()
            dialogue.reader_server.expect_frames()


def _read_unmatched(
    dialogue: ImapDialogue, tag: bytes, reply: Reply, line: bytes, packet: int, time_ns: int, offset: int
) -> None:
    """A tagged answer whose tag does not wait: a literal that is refused, a repeated answer, or one out of nowhere."""
    facts = dialogue.facts_
    building = dialogue.building
    if building is not None and building.tag == tag:
        client = dialogue.reader_client
        dialogue.building = None
        if not client.capture:
            client.skip = client.wanted = 0  # refused before the client sent any byte of it
        register(dialogue, building)
        complete(dialogue, building, reply, packet, time_ns, offset)
        return
    reader = dialogue.reader_server
    if reader.lost:  # the rest of a line whose head is missing looks like this now and then
        if dialogue.reader_client.offset or not line[len(tag) + 1 :].startswith((b"OK ", b"NO ", b"BAD ")):
            return
        reader.lost = False
    facts.tagged += 1
    if not dialogue.reader_client.offset:  # the client's half is not in the capture, or it never spoke: the judge knows
        dialogue.certain_client = dialogue.certain_state = False
        dialogue.state = UNKNOWN_STATE
        dialogue.take_back()
    if reply.result != "ok" and (facts.client_nonsense or tag in dialogue.done_tags):
        facts.answers_to_nonsense += 1
        return
    if tag in dialogue.done_tags or dialogue.overflowed or not dialogue.certain_server:
        return
    if not dialogue.certain_client:
        dialogue.keep_early(tag, Early(reply, packet, time_ns, offset))
        return
    if line == dialogue.last_client_line:
        dialogue.broken("echoes")
        dialogue.note("server-echoes", SERVER, packet, offset, "")
        return
    dialogue.broken("unmatched")
    dialogue.keep_early(tag, Early(reply, packet, time_ns, offset))
    shown = safe_text(tag, 32) if dialogue.exchange is None else f"[{len(tag)} bytes]"  # a word of a SASL response?
    dialogue.note("answer-without-command", SERVER, packet, offset, f"{shown} {reply.result.upper()}")
    if reply.opaque is not None:
        _note_opaque(dialogue, reply.opaque, packet, offset)


def _read_nonsense(dialogue: ImapDialogue, line: bytes, packet: int, time_ns: int, offset: int) -> None:
    """A line that no IMAP server sends, unless it answers nonsense or lies behind a gap."""
    facts = dialogue.facts_
    if not line or dialogue.reader_server.lost:
        return
    if (facts.client_nonsense or not dialogue.certain_client) and ANSWER_TO_NONSENSE.match(line):
        facts.answers_to_nonsense += 1
        return
    if line[:1] == b"\x16" and (facts.starttls == "asked" or not dialogue.certain_client):
        return  # TLS after a STARTTLS that the capture does not show
    if not dialogue.certain_server:
        return
    binary = is_binary(line)
    if binary and not dialogue.certain_client:  # TLS, deflate or a security layer, whose beginning the capture lacks
        dialogue.certain_server, dialogue.reader_server.lost = False, True
        return
    dialogue.broken("server_nonsense", *(("server_binary",) if binary else ()))
    if line == dialogue.last_client_line:
        dialogue.broken("echoes")
        dialogue.note("server-echoes", SERVER, packet, offset, "")
    else:
        hidden = binary or dialogue.exchange is not None  # it may repeat a SASL response
        dialogue.note(
            "server-line-is-no-imap", SERVER, packet, offset, f"[{len(line)} bytes]" if hidden else redact(line, 80)
        )
    dialogue.start_foreign(SERVER, line)
    dialogue.anomaly("imap-server-line-invalid", packet, time_ns)
