"""The exposure sheet as people read it: one line a service, and below it what the line rests on."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from imapids.desk.exposure import Differences, Key, Sheet, body_of, key_of
from imapids.output.table_text import number, one_line, span_of_time
from imapids.records.events import Capture, Event, Exposure

LINES_SHOWN = 500
"""A longer sheet is for programs: --format jsonl or csv has all of it."""
CLOSED_SHOWN = 40
"""Addresses that never answered, in full; the rest is counted."""
_LEAST_ADDRESS = 17


def sheet_text(sheet: Sheet, width: int = 100) -> Iterator[str]:
    """The lines of the text, in plain ASCII of about `width` columns (a long IPv6 address may go beyond)."""
    capture = sheet.result.capture.body
    assert isinstance(capture, Capture)
    yield from _head(sheet, capture)
    differences = sheet.differences
    shown = [line for line in sheet.lines if body_of(line).state == "open"]
    others = [line for line in sheet.lines if body_of(line).state != "open"]
    if differences is not None:
        yield from _differences(differences, shown + others)
    wide = max([_LEAST_ADDRESS, *(len(key_of(line)[0]) for line in (shown + others[:CLOSED_SHOWN])[:LINES_SHOWN])])
    for title, lines in (("Our servers", [line for line in shown if body_of(line).home]),
                         ("Servers elsewhere", [line for line in shown if not body_of(line).home])):
        if lines:
            yield ""
            yield f"{title:<{wide}}  PORT      OPEN TO  SERVICE                  CLIENTS IN/OUT"
            for line in lines[:LINES_SHOWN]:
                yield from _service(line, wide, width)
            if len(lines) > LINES_SHOWN:
                yield f"... and {number(len(lines) - LINES_SHOWN, 'line')} more: --format jsonl has them"
    if others:
        yield ""
        yield f"{'Asked in vain':<{wide}}  PORT      STATE    ASKED BY   TIMES"
        for line in others[:CLOSED_SHOWN]:
            body, (server, port, transport) = body_of(line), key_of(line)
            yield (f"{server:<{wide}}  {f'{port}/{transport}':<9} {body.state:<8} {' '.join(body.asked_by):<10} "
                   f"{body.connections:,}")
        if len(others) > CLOSED_SHOWN:
            yield f"... and {len(others) - CLOSED_SHOWN:,} more: --format jsonl has them"
    if not sheet.lines:
        yield ""
        yield "Nobody asked for a mail port in these captures."


def _head(sheet: Sheet, capture: Capture) -> Iterator[str]:
    bodies = [body_of(line) for line in sheet.lines]
    mine = [body for body in bodies if body.home and body.state == "open"]
    yield f"Exposure of mail ports, {span_of_time(capture.start, capture.end) or 'no packets'}"
    yield (f"  {number(len(mine), 'service')} of ours open, {sum('wan' in body.open_to for body in mine):,} of them to "
           f"the outside; {sum(bool(body.unexpected) for body in bodies):,} unexpected; "
           f"{sum(body.state != 'open' for body in bodies):,} asked in vain")
    left_out = capture.limits.get("exposure-closed-endpoints", 0)
    if left_out:
        yield f"  {left_out:,} more addresses never answered and are left out"
    if bodies and not any(body.home for body in bodies):
        yield "  no server is in the home network: --home-net says which networks are yours"


def _service(line: Event, wide: int, width: int) -> Iterator[str]:
    """One service and its evidence."""
    body, (server, port, transport) = body_of(line), key_of(line)
    service = " ".join(part for part in (body.service or "?", one_line(body.software, 40)) if part)
    yield (f"{server:<{wide}}  {f'{port}/{transport}':<9} {' '.join(body.open_to).upper():<8} {service[:24]:<24} "
           f"{body.clients_lan:,} / {body.clients_wan:,}")
    for mark, text in _notes(body):
        yield from textwrap.wrap(text, max(width - 6, 40), initial_indent=f"  {mark} ", subsequent_indent="    ",
                                 break_long_words=False)


def _notes(body: Exposure) -> Iterator[tuple[str, str]]:
    """(`!` what to act on, `-` what to know, text)."""
    if body.unexpected:
        yield "!", f"unexpected: {', '.join(body.unexpected)}"
    if body.home and "wan" in body.open_to:
        yield "!", f"open to the outside: {number(body.connections_wan, 'connection')} from there"
    if body.wan_signed_in_in_clear:
        yield "!", "signed in from or towards the outside before any TLS"
    if body.home and {"banner", "relayed-user", "relays"} & set(body.proxy):
        went = f"; went on to {', '.join(body.upstream)} {number(body.relayed, 'time')}" if body.relayed else ""
        yield "!", f"a mail proxy: {', '.join(body.proxy)}{went}"
    elif body.proxy:
        went = f", went on to {', '.join(body.upstream)} {number(body.relayed, 'time')}" if body.relayed else ""
        yield "-", f"signs of a mail proxy: {', '.join(body.proxy)}{went}"
    if body.sign_in_in_clear or body.signed_in_in_clear:
        yield "-", ("signed in" if body.signed_in_in_clear else "sign-in offered") + " before any TLS"
    if body.tls or body.starttls_offered:
        yield "-", "TLS from the first byte" if body.tls else (
            f"STARTTLS {'used' if body.starttls_used else 'offered, not used'}")
    if body.banner:
        yield "-", f"banner: {one_line(body.banner, 160)}"
    if body.networks:
        yield "-", f"clients from {', '.join(body.networks)}"
    yield "-", f"{number(body.connections, 'connection')}, {span_of_time(body.first_seen, body.last_seen)}"


def _differences(differences: Differences, lines: list[Event]) -> Iterator[str]:
    """What is not as it was on the earlier sheet."""
    yield ""
    if not (differences.new or differences.changed or differences.not_seen):
        yield "Nothing differs from the earlier sheet."
        return
    yield "Against the earlier sheet"
    for line in lines:
        key = key_of(line)
        if key in differences.new:
            yield f"  + {_named(key)}: new, {body_of(line).state}"
        elif key in differences.changed:
            yield f"  ~ {_named(key)}: {one_line('; '.join(differences.changed[key]), 300)}"
    for line in differences.not_seen:
        yield f"  - {_named(key_of(line))}: nobody asked this time"


def _named(key: Key) -> str:
    server, port, transport = key
    return f"{f'[{server}]' if ':' in server else server}:{port}/{transport}"
