"""The account at the end of a run: what it could and could not see."""

from __future__ import annotations

from collections.abc import Sequence

from imapids.pipeline import Pipeline
from imapids.protocols.text import safe_str
from imapids.protocols.timestamps import eve_time
from imapids.records.events import Capture, Event, InputAccount
from imapids.records.packets import SourceAccount

_DAMAGE_SHOWN = 8


def capture_event(pipeline: Pipeline, accounts: Sequence[SourceAccount], counts: dict[str, int],
                  interrupted: bool, detect_limits: dict[str, int]) -> Event:
    """The `capture` event: packets == processed + the sum of skipped."""
    decoded, flows = pipeline.decoder.account, pipeline.table.account
    packets = sum(account.packets for account in accounts)
    skipped = dict(sorted((*decoded.skipped.items(), *pipeline.skipped.items())))
    skipped = {reason: count for reason, count in skipped.items() if count}
    starts = [account.first_ns for account in accounts if account.first_ns is not None]
    ends = [account.last_ns for account in accounts if account.last_ns is not None]
    loss = 100 * flows.missing_bytes / flows.payload_bytes if flows.payload_bytes else 0.0
    body = Capture(
        packets=packets, processed=packets - sum(skipped.values()), skipped=skipped, flows=flows.flows,
        sessions=sum(pipeline.sessions.values()), inputs=[_input(account) for account in accounts],
        events=dict(sorted(counts.items())), notes=dict(sorted(decoded.notes.items())),
        limits=dict(sorted((*flows.limits.items(), *detect_limits.items()))),
        start=eve_time(min(starts)) if starts else "", end=eve_time(max(ends)) if ends else "",
        one_sided=flows.one_sided, midstream=flows.midstream,
        capture_loss=round(min(loss, 100.0), 3), interrupted=interrupted,
    )
    return Event("capture", max(ends, default=0), body)


def _input(account: SourceAccount) -> InputAccount:
    return InputAccount(
        name=safe_str(account.source.name, 1024), status=account.status, format=account.source.format,
        packets=account.packets, bytes=account.bytes_read,
        start=eve_time(account.first_ns) if account.first_ns is not None else "",
        end=eve_time(account.last_ns) if account.last_ns is not None else "",
        damage=[safe_str(damage.message, 300) for damage in account.damage[:_DAMAGE_SHOWN]],
        skipped=account.skipped, notes=account.notes,
    )
