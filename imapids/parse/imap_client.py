"""The client's half of the IMAP machine: commands, their literals, SASL responses, and lines that are none of these."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imapids.parse.imap_commands import (
    AUTHENTICATE,
    COMPRESS,
    ID,
    IDLE,
    LOGIN,
    STARTTLS,
    may_name_secret,
    read_command,
    redact,
)
from imapids.parse.imap_events import tell
from imapids.parse.imap_login import Exchange, start_exchange
from imapids.parse.imap_pending import Pending
from imapids.parse.imap_replies import id_name
from imapids.protocols.imap_commands import UNKNOWN_STATE
from imapids.protocols.imap_grammar import BASE64, GREETING, TAGGED, is_binary, literal_size
from imapids.protocols.text import safe_text
from imapids.records.streams import CLIENT

if TYPE_CHECKING:
    from imapids.parse.imap import ImapDialogue

ARGUMENT_BYTES = 1_024
"""First bytes of a literal that are kept: user names, secrets and mailbox names are shorter."""
BODY_BYTES = 512
"""First bytes of a stored message that are kept: a mail header shows itself within them."""
STRANGE_WORDS = 64
"""Commands of unknown words that are told as events, for each flow; further ones are counted."""
WITH_ARGUMENTS = frozenset((LOGIN, AUTHENTICATE, ID))
"""Commands whose arguments are read once more when they are complete."""
TAG_BYTES = 1_024
"""A longer word at the start of a line is no tag: servers refuse far shorter ones (GNU imap4d repeats them)."""


def read_line(dialogue: ImapDialogue, line: bytes, packet: int, time_ns: int, offset: int) -> None:
    """One line of the client, without its end."""
    if dialogue.building is not None:
        _continue_command(dialogue, dialogue.building, line)
        return
    reader = dialogue.reader_client
    if dialogue.exchange is not None and _is_response(dialogue, dialogue.exchange, line):
        _read_response(dialogue, dialogue.exchange, line)
        return
    dialogue.last_client_line = line
    tag, blank, rest = line.partition(b" ")
    shape = read_command(rest, dialogue.limits) if blank else None
    if shape is None or not (tag.isalnum() or _is_tag(tag)) or (shape.spec is None and may_name_secret(tag)):
        _read_other(dialogue, line, packet, time_ns, offset)
        return
    if reader.lost:
        if shape.spec is None:
            return  # the rest of a line whose head is missing, or one that only looks like a command
        reader.lost = False
    if not dialogue.greeted and not dialogue.certain_server:
        dialogue.greeted = True
    pending = Pending(tag, shape, packet, time_ns, offset, dialogue.state, bool(dialogue.pending))
    if shape.literal >= 0 and not reader.cut:
        _expect_literal(dialogue, pending, line)
        return
    if shape.code and shape.code in WITH_ARGUMENTS:
        keep_words(pending, line)
        if reader.cut:
            pending.cut = True
    register(dialogue, pending)


def _is_tag(word: bytes) -> bool:
    """Whether a word may be a tag: RFC 9051 section 9, or what servers take for one (visible ASCII, not too long)."""
    return 0 < len(word) <= TAG_BYTES and word != b"*" and word.isascii() and not is_binary(word)


def register(dialogue: ImapDialogue, pending: Pending) -> None:
    """The command is complete: it waits for its completion."""
    facts, shape = dialogue.facts_, pending.shape
    facts.commands += 1
    spec = shape.spec
    if spec is not None:
        facts.known_commands += 1
        if spec.states & pending.state or pending.pipelined:
            facts.ordered_commands += 1
    elif shape.name.startswith("X"):
        facts.known_commands += 1
    if dialogue.injecting is not None and dialogue.injecting.shape.code == STARTTLS:
        facts.injected += 1
        dialogue.note("commands-before-starttls-answer", CLIENT, pending.packet, pending.offset, shape.name)
    waiting = dialogue.pending
    if pending.pipelined and waiting:
        earlier = waiting.pop(pending.tag, None)
        if earlier is not None:
            pending.twin = earlier
        waiting[pending.tag] = pending
        if len(waiting) > dialogue.limits.pending_commands or (earlier is not None and _twins(pending, 64) >= 64):
            _drop_oldest(dialogue, pending)
    else:
        waiting[pending.tag] = pending
    if shape.code:
        _special(dialogue, pending, shape.code)
    if dialogue.early and pending.tag in dialogue.early:
        dialogue.answered_early(pending)


def _special(dialogue: ImapDialogue, pending: Pending, code: int) -> None:
    """Commands after which the client's next bytes are not commands."""
    facts = dialogue.facts_
    if code == AUTHENTICATE:
        dialogue.exchange = start_exchange(pending, pending.parts[0] if pending.parts else b"")
        facts.auth_rounds = max(facts.auth_rounds, dialogue.exchange.rounds)
    elif code == IDLE:
        dialogue.idling = pending
    elif code in (STARTTLS, COMPRESS):
        if code == STARTTLS:
            facts.starttls = "asked"
        else:
            facts.compress = "asked"
        if dialogue.injecting is None and pending.shape.literal < 0:
            dialogue.upgrade_asked = pending
            dialogue.reader_client.halt()
    elif code == ID and not facts.client_software:
        facts.client_software = id_name(pending.parts[0] if pending.parts else b"")


def _expect_literal(dialogue: ImapDialogue, pending: Pending, line: bytes) -> None:
    """The command goes on after a literal: its bytes are skipped by count, the first ones kept where they matter."""
    shape = pending.shape
    size = shape.literal
    keep_words(pending, line)
    dialogue.building = pending
    _skip(dialogue, pending, size)


def _skip(dialogue: ImapDialogue, pending: Pending, size: int) -> None:
    reader = dialogue.reader_client
    pending.literals += 1
    pending.literal_bytes += size
    pending.longest = max(pending.longest, size)
    dialogue.facts_.literal_bytes += size
    if size > 0xFFFFFFFF:  # RFC 3501 9: number is 32 bits; RFC 9051's number64 is for bodies that nobody has
        dialogue.limit("imap-literal-too-large", pending.packet, pending.time_ns)
    action = pending.shape.spec.action if pending.shape.spec is not None else ""
    reader.expect(size, BODY_BYTES if action == "append" else ARGUMENT_BYTES)
    if size == 0:
        dialogue.literal_done(CLIENT, b"")


def _continue_command(dialogue: ImapDialogue, pending: Pending, line: bytes) -> None:
    """The line after a literal: more arguments, more literals, or the end of the command."""
    pending.more_bytes += len(line)
    if len(pending.parts) < 16:
        pending.parts = (*pending.parts, line)
    announced = None if dialogue.reader_client.cut else literal_size(line, dialogue.limits.literal_digits)
    if announced is not None:
        _skip(dialogue, pending, announced[0])
        return
    dialogue.building = None
    register(dialogue, pending)


def _is_response(dialogue: ImapDialogue, exchange: Exchange, line: bytes) -> bool:
    """Whether a line belongs to the SASL exchange under way.

    What answers a continuation does, whatever it holds (RFC 9051 section 6.2.2). Before one (it is missing in the
    capture, or the client did not wait), only commands that are known do not: any other text may be a secret.
    """
    if exchange.prompts or line == b"*" or BASE64.match(line) is not None:
        return True
    _, blank, rest = line.partition(b" ")
    shape = read_command(rest, dialogue.limits) if blank else None
    return (shape is None or shape.spec is None) and not is_binary(line)


def _read_response(dialogue: ImapDialogue, exchange: Exchange, line: bytes) -> None:
    """A SASL response: it is decoded where it is one, and never shown."""
    if exchange.prompts:
        exchange.prompts -= 1
    exchange.add(line)
    if dialogue.reader_client.cut:
        exchange.pending.cut = True
    if exchange.rounds > dialogue.facts_.auth_rounds:
        dialogue.facts_.auth_rounds = exchange.rounds
    dialogue.reader_client.lost = False
    word = line.partition(b" ")[0]
    if word != b"*" and len(word) <= TAG_BYTES and BASE64.match(line) is None:
        _remember_tag(dialogue, word)  # a server that took it for a command answers this word


def _read_other(dialogue: ImapDialogue, line: bytes, packet: int, time_ns: int, offset: int) -> None:
    """A line that is no command: DONE, a greeting on the wrong side, or nonsense."""
    reader = dialogue.reader_client
    facts = dialogue.facts_
    if line[:4].upper() == b"DONE" and len(line.rstrip()) == 4:  # RFC 9051 6.3.13
        reader.lost = False
        dialogue.idling = None
        if facts.midstream and dialogue.state == UNKNOWN_STATE:
            facts.ordered_commands += 1
        return
    if reader.lost:
        return
    if GREETING.match(line) and not dialogue.reader_server.lines and not facts.commands:
        facts.reversed_roles = True
        dialogue.note("client-sends-greeting", CLIENT, packet, offset, safe_text(line, 80))
    elif facts.reversed_roles and TAGGED.match(line):
        return
    facts.client_nonsense += 1
    binary = is_binary(line)
    if binary:
        facts.client_binary += 1
    if line.strip():
        dialogue.note(
            "client-line-is-no-command", CLIENT, packet, offset, f"[{len(line)} bytes]" if binary else redact(line, 80)
        )
    dialogue.anomaly("imap-client-line-invalid", packet, time_ns)
    tag = line.partition(b" ")[0]
    if tag and len(tag) <= TAG_BYTES and not binary:
        _remember_tag(dialogue, tag)


def _remember_tag(dialogue: ImapDialogue, tag: bytes) -> None:
    """A server may answer this word as a tag: the answer is then no answer to a tag that was never sent."""
    done = dialogue.done_tags
    done[tag] = None
    if len(done) > dialogue.limits.pending_commands:
        del done[next(iter(done))]
        dialogue.overflowed = True


def keep_words(pending: Pending, line: bytes) -> None:
    """Remembers what stands behind the tag of a command's first line."""
    words = line.split(None, 2)
    pending.parts = (words[2] if len(words) > 2 else b"",)
    if pending.shape.code in (LOGIN, AUTHENTICATE):
        pending.word = words[1] if len(words) > 1 else b""


def arguments_of(line: bytes) -> bytes:
    """What stands after tag and command word."""
    parts = line.split(None, 2)
    return parts[2] if len(parts) > 2 else b""


def _twins(pending: Pending | None, most: int) -> int:
    count = 0
    while pending is not None and count < most:
        count += 1
        pending = pending.twin
    return count


def _drop_oldest(dialogue: ImapDialogue, newest: Pending) -> None:
    """Too many commands wait: the oldest is told as one without answer, and unknown tags prove nothing any more."""
    dialogue.overflowed = True
    dialogue.limit("imap-too-many-pending", newest.packet, newest.time_ns)
    waiting = dialogue.pending
    if len(waiting) > dialogue.limits.pending_commands:
        oldest: Pending | None = waiting.pop(next(iter(waiting)))
    else:
        last: Pending | None = newest
        while last is not None and last.twin is not None and last.twin.twin is not None:
            last = last.twin
        oldest, newest_but = (last.twin, last) if last is not None else (None, None)
        if newest_but is not None:
            newest_but.twin = None
    while oldest is not None:
        tell(dialogue, oldest, "none", None, oldest.time_ns)
        oldest = oldest.twin
