"""The account at the end of a run: what it could and could not see."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np

from imapids.decode.link_types import LINK_TYPES
from imapids.pipeline import Pipeline
from imapids.protocols.text import safe_str
from imapids.protocols.timestamps import eve_time
from imapids.records.events import Capture, Event, InputAccount
from imapids.records.packets import SourceAccount
from imapids.records.streams import FlowAccount

_DAMAGE_SHOWN = 8
_LINK_TYPES_SHOWN = 8


class Tally(msgspec.Struct, kw_only=True):
    """What a pipeline has counted: plain numbers, so that those of several processes can be added."""

    clock_ns: int
    """The clock of packets."""
    skipped: dict[str, int]
    """Packets that gave no segment, by reason."""
    notes: dict[str, int]
    flows: FlowAccount
    flows_open: int
    sessions: dict[str, int]
    """Sessions by verdict."""
    hit: dict[str, int] = {}
    """Conversations that a limit of their reading cut short, by its name."""


def tally_of(pipeline: Pipeline) -> Tally:
    """What a pipeline has counted so far."""
    decoded, flows, rows = pipeline.decoder.account, pipeline.table.account, pipeline.table.columns
    skipped = sorted((*decoded.skipped.items(), *pipeline.skipped.items()))
    return Tally(clock_ns=pipeline.table.clock_ns, skipped={reason: count for reason, count in skipped if count},
                 notes=dict(decoded.notes), flows=flows, flows_open=int(np.count_nonzero(rows.live[: rows.used])),
                 sessions=dict(pipeline.sessions),
                 hit=dict(pipeline.limits_hit))


def added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Counts by name, added up, in the order of the names."""
    total: dict[str, int] = {}
    for each in counts:
        for name, count in each.items():
            total[name] = total.get(name, 0) + count
    return dict(sorted(total.items()))


def capture_event(tally: Tally, accounts: Sequence[SourceAccount], counts: dict[str, int],
                  interrupted: bool, limits: Mapping[str, int]) -> Event:
    """The `capture` event: packets == processed + the sum of skipped. `limits`: what the tally does not count."""
    flows = tally.flows
    packets = sum(account.packets for account in accounts)
    starts = [account.first_ns for account in accounts if account.first_ns is not None]
    ends = [account.last_ns for account in accounts if account.last_ns is not None]
    loss = 100 * flows.missing_bytes / flows.payload_bytes if flows.payload_bytes else 0.0
    body = Capture(
        packets=packets, processed=packets - sum(tally.skipped.values()), skipped=tally.skipped, flows=flows.flows,
        sessions=sum(tally.sessions.values()), inputs=[_input(account) for account in accounts],
        events=dict(sorted(counts.items())), notes=dict(sorted(tally.notes.items())),
        limits=added([flows.limits, tally.hit, limits]),
        start=eve_time(min(starts)) if starts else "", end=eve_time(max(ends)) if ends else "",
        one_sided=flows.one_sided, midstream=flows.midstream,
        capture_loss=round(min(loss, 100.0), 3), interrupted=interrupted,
    )
    return Event("capture", max(ends, default=0), body)


def judge_link_types(accounts: Sequence[SourceAccount]) -> list[str]:
    """What to say of inputs that hold packets of link types that nobody decodes here, among others that are decoded.

    An input that holds nothing else is `unsupported` from now on, and its own message says why.
    """
    messages = []
    for account in accounts:
        foreign = {number: count for number, count in sorted(account.link_types.items())
                   if number >= 0 and number not in LINK_TYPES}
        lost = sum(foreign.values())
        if not lost:
            continue
        kinds = ", ".join(map(str, list(foreign)[:_LINK_TYPES_SHOWN])) + (" ..." * (len(foreign) > _LINK_TYPES_SHOWN))
        said = (f"{lost:,} of {account.packets:,} packets cannot be decoded, their link type is not known: {kinds}; "
                "capture with one that is (tcpdump -L lists what an interface has, -y chooses)")
        message = f"{safe_str(account.source.name, 1024)}: {said}"
        if lost == account.packets and account.status == "ok":
            account.status, account.message = "unsupported", message
        else:
            messages.append(message)
    return messages


def _troubles(account: SourceAccount) -> list[str]:
    """Where an input is damaged, or why it could not be read at all."""
    if account.status in ("unreadable", "unsupported") and account.message:
        return [safe_str(account.message, 1_400)]
    return [safe_str(damage.message, 300) for damage in account.damage[:_DAMAGE_SHOWN]]


def _input(account: SourceAccount) -> InputAccount:
    return InputAccount(
        name=safe_str(account.source.name, 1024), status=account.status, format=account.source.format,
        packets=account.packets, bytes=account.bytes_read,
        start=eve_time(account.first_ns) if account.first_ns is not None else "",
        end=eve_time(account.last_ns) if account.last_ns is not None else "",
        damage=_troubles(account),
        skipped=account.skipped, notes=account.notes,
    )
