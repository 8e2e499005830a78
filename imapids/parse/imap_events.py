"""The events of commands: what was asked and how it ended, who signed in, what was done to mailboxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imapids.parse.imap_commands import AUTHENTICATE, LOGIN
from imapids.parse.imap_login import tell_login
from imapids.parse.imap_pending import Pending
from imapids.parse.imap_replies import Reply
from imapids.protocols.imap_commands import STATE_NAMES
from imapids.protocols.late_patterns import late_pattern
from imapids.protocols.text import safe_text
from imapids.records.events import Command, Message

if TYPE_CHECKING:
    from imapids.parse.imap import ImapDialogue

MAIL_HEADER = late_pattern(rb"\s*(?:>?From |[!-9;-~]{1,76}:)")
"""How a message begins (RFC 5322 section 2.2; `From ` of mbox files): a body without it is one blob."""
_COPIED = late_pattern(rb"\A[0-9]+ ([0-9:,]+) ")


def tell(dialogue: ImapDialogue, pending: Pending, result: str, reply: Reply | None, time_ns: int) -> None:
    """The events of a command: `command`, and `login` or `message` where it is one."""
    shape = pending.shape
    spec = shape.spec
    if spec is None and dialogue.stopped_being_imap:
        return  # lines of another protocol: what they look like is the sniffer's word
    tag, state = pending.tag, pending.state
    command = Command(
        tag=tag.decode() if tag.isalnum() and len(tag) < 64 else safe_text(tag, 64),
        name=shape.name,
        result=result,
        state=STATE_NAMES.get(state, "unknown"),
        arguments=shape.arguments,
        line_bytes=len(tag) + 1 + shape.size,
        longest_argument=shape.longest,
    )
    if reply is not None:
        command.code = reply.code
        command.duration_us = (time_ns - pending.time_ns) // 1000 if time_ns > pending.time_ns else 0
    if pending.literals:
        command.literals = pending.literals
        command.literal_bytes = pending.literal_bytes
        command.line_bytes += pending.more_bytes
        command.longest_argument = max(shape.longest, pending.longest)
    if pending.pipelined:
        command.pipelined = True
    elif spec is not None and not spec.states & state:
        command.illegal_state = True
    if shape.traits:
        command.traits = shape.traits
    events = dialogue.events
    events.append((pending.time_ns, pending.packet, command))
    if shape.code == LOGIN:
        tell_login(dialogue, pending, result, reply, None)
    elif shape.code == AUTHENTICATE:
        exchange = dialogue.exchange
        tell_login(
            dialogue, pending, result, reply, exchange if exchange is not None and exchange.pending is pending else None
        )
    elif spec is not None and spec.action:
        events.append((pending.time_ns, pending.packet, _message(dialogue, pending, spec.action, result, reply)))


def _message(dialogue: ImapDialogue, pending: Pending, action: str, result: str, reply: Reply | None) -> Message:
    """What a command did to the mailbox, out of its arguments and of the responses before its completion."""
    shape, tally = pending.shape, dialogue.tally
    mailbox = mailbox_of(dialogue, pending)
    if action == "fetch":
        return Message(
            action=action,
            mailbox=mailbox,
            count=tally.fetched,
            bytes=tally.literal_bytes,
            bodies=tally.bodies,
            result=result,
            opaque_body=tally.opaque,
        )
    if action == "search":
        return Message(
            action=action, mailbox=mailbox, count=max(tally.found, 0), criteria=shape.criteria, result=result
        )
    if action == "select":
        return Message(action=action, mailbox=mailbox, count=max(tally.exists, 0), result=result)
    if action == "expunge":
        return Message(action=action, mailbox=mailbox, count=tally.expunged, result=result)
    if action == "store":
        return Message(action=action, mailbox=mailbox, count=tally.fetched, flags=shape.flags, result=result)
    if action == "append":
        body = pending.parts[-2] if len(pending.parts) > 2 else pending.parts[-1] if len(pending.parts) == 2 else b""
        return Message(
            action=action,
            mailbox=mailbox,
            count=1 if result == "ok" else 0,
            bytes=pending.literal_bytes,
            flags=shape.flags,
            result=result,
            opaque_body=bool(body) and not MAIL_HEADER.match(body),
        )
    count = 0
    if action in ("copy", "move") and reply is not None and reply.code == "COPYUID":
        count = set_size(reply.code_text)
    return Message(action=action, mailbox=mailbox, count=count, result=result)


def mailbox_of(dialogue: ImapDialogue, pending: Pending) -> str:
    """The mailbox that a command names, as an argument or as its first literal; else the one that is open."""
    shape = pending.shape
    if shape.spec is None or shape.spec.mailbox < 0:
        return dialogue.mailbox
    if shape.mailbox or not pending.literals or (shape.name == "APPEND" and pending.literals < 2):
        return shape.mailbox
    return safe_text(pending.parts[1], dialogue.limits.text_bytes) if len(pending.parts) > 1 else ""


def set_size(code_text: bytes) -> int:
    """How many messages the source set of COPYUID names (RFC 4315 section 3)."""
    match = _COPIED.match(code_text)
    if match is None:
        return 0
    total = 0
    for part in match[1].split(b",")[:1024]:
        low, colon, high = part.partition(b":")
        try:
            total += abs(int(high[:20]) - int(low[:20])) + 1 if colon else 1
        except ValueError:
            return 0
    return min(total, 1 << 32)
