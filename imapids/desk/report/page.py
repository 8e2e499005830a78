"""The page of a report: what the template shows, escaped by the template engine, under a strict content policy."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imapids.desk.cases import GRAVITY, Case
from imapids.desk.columns import DIRECTIONS
from imapids.desk.explain import Explanation
from imapids.desk.report import charts
from imapids.desk.report.digest import Digest
from imapids.output.table_text import number, shown, span_of_time
from imapids.protocols.timestamps import eve_time
from imapids.records.alerts import LEVELS, Alert, Reason
from imapids.records.events import Beacon, Capture, Event, Exposure, Scan, Session
from imapids.records.streams import SIDES, Flow
from imapids.records.verdicts import VERDICTS

if TYPE_CHECKING:
    from imapids.desk.report.sink import Explain

TEMPLATES = Path(__file__).parent / "templates"
CASES_SHOWN = 200
"""Cases in full: whoever has more reads the JSON lines."""
ALERTS_SHOWN = 20
"""Alerts of one case."""
REASONS_SHOWN = 40
"""Lines of one alert's tree."""
EVIDENCE_SHOWN = 12
ROWS_SHOWN = 500
"""Lines of the exposure sheet, of the beacons and of the scanners."""
LINES_SHOWN = 120
"""Lines of the dialogue of the gravest session."""
INPUTS_SHOWN = 200


def render(digest: Digest, explain: Explain | None = None) -> str:
    """The whole page: the same bytes for the same results."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, finalize=lambda value: _printable(value, Markup))
    environment.filters |= {"n": _number, "safe_words": words, "moment": _moment}
    style, script = ((TEMPLATES / name).read_text("utf-8") for name in ("report.css", "report.js"))
    policy = (f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; "
              "base-uri 'none'; form-action 'none'")
    page = environment.get_template("report.html").render(
        policy=policy, style=Markup(style), script=Markup(script),  # noqa: S704  # our own files
        **_content(digest, explain, Markup))
    return page + "\n"


def _hash(text: str) -> str:
    """The source expression of a content policy for one inline element (CSP Level 3, section 2.3.1)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def words(text: str) -> str:
    """Words of a rule in one line."""
    return " ".join(text.split())


def _printable(value: object, markup: type) -> object:
    """Whatever the template shows, without what does not print: control characters, changes of writing direction."""
    if not isinstance(value, str) or isinstance(value, markup) or value.isprintable():
        return value
    return "".join(each if each.isprintable() or each == "\n" else "\ufffd" for each in value)


def _number(value: int) -> str:
    return number(value)


def _moment(time_ns: int) -> str:
    """`2026-03-03 08:00:00`, UTC."""
    return eve_time(time_ns)[:19].replace("T", " ")


# ---- what the page says ----------------------------------------------------------------------------------------------

def _content(digest: Digest, explain: Explain | None, markup: Callable[[str], Any]) -> dict[str, Any]:
    cases = digest.book.cases(with_alerts_only=True)
    alerts = {alert.id: alert for alert in digest.book.alerts}
    sessions = {event.flow.flow_id: event for event in digest.sessions if event.flow is not None}
    body = digest.capture.body if digest.capture is not None else None
    capture = body if isinstance(body, Capture) else None
    figures = [charts.timeline(digest), charts.beacon_rhythm(digest), charts.login_outcomes(digest),
               charts.exposure_map(digest)]
    return {
        "title": _title(capture), "capture": capture,
        "when": span_of_time(capture.start, capture.end) if capture is not None else "",
        "levels": [(level, digest.findings[level]) for level in reversed(LEVELS) if digest.findings[level]],
        "findings": digest.findings.total(), "cases_in_all": len(cases), "left_out": digest.book.left_out.total(),
        "verdicts": _verdicts(digest), "natures": digest.natures.most_common(12), "sessions_in_all":
            digest.sessions_in_all,
        "cases": [_case(case, alerts, sessions) for case in cases[:CASES_SHOWN]],
        "more_cases": max(0, len(cases) - CASES_SHOWN),
        "gravest": _gravest(cases, alerts, sessions, explain, markup),
        "sessions": [_session(event) for event in digest.sessions],
        "figures": [markup(figure) for figure in figures if figure],
        "exposure": [_exposure(event) for event in digest.exposure.events[:ROWS_SHOWN]],
        "beacons": [_beacon(event) for event in digest.beacons.events[:ROWS_SHOWN]
                    if isinstance(event.body, Beacon) and event.body.score > 0],
        "scans": [_scan(event) for event in digest.scans.events[:ROWS_SHOWN]],
        "tables_cut": [(name, held.left_out + max(0, len(held.events) - ROWS_SHOWN)) for name, held in (
            ("exposure sheet", digest.exposure), ("beacons", digest.beacons), ("scanners", digest.scans))
            if held.left_out or len(held.events) > ROWS_SHOWN],
        "logins_left_out": digest.logins_left_out,
        "account": _account(capture) if capture is not None else None,
    }


def _title(capture: Capture | None) -> str:
    if capture is None or not capture.inputs:
        return "saved results"
    names = [shown(account.name) for account in capture.inputs]
    return names[0] if len(names) == 1 else f"{number(len(names))} captures"


def _verdicts(digest: Digest) -> dict[str, Any]:
    """Sessions by direction and verdict, without empty rows and columns."""
    columns = [verdict for verdict in VERDICTS if any(digest.verdicts[place, verdict] for place in DIRECTIONS)]
    rows = [(place, [digest.verdicts[place, verdict] for verdict in columns]) for place in DIRECTIONS]
    totals = [sum(counts[index] for _, counts in rows) for index in range(len(columns))]
    return {"columns": columns, "rows": [(place, counts) for place, counts in rows if any(counts)], "totals": totals}


def _end(address: str, port: int | None) -> str:
    host = shown(address)
    return host if port is None else f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _nature(verdict: str, kind: str | None) -> str:
    return shown(f"{verdict}: {kind}" if verdict and kind and kind != verdict else verdict or kind or "")


def _case(case: Case, alerts: Mapping[str, Alert], sessions: Mapping[int, Event]) -> dict[str, Any]:
    session = sessions.get(case.flow_id) if case.flow_id is not None else None
    held = [alerts[name] for name in case.alert_ids[:ALERTS_SHOWN]]
    return {
        "case": case.case, "level": case.level, "title": case.title, "client": shown(case.client),
        "server": _end(case.server, case.server_port) if case.server else "", "direction": case.direction,
        "nature": _nature(case.verdict, case.protocol), "count": case.alerts, "sessions": case.sessions,
        "first": case.first_ns, "last": case.last_ns, "techniques": [shown(each) for each in case.techniques],
        "bytes_client": case.bytes_client, "bytes_server": case.bytes_server,
        "alerts": [_alert(alert) for alert in held], "more": max(0, case.alerts - len(held)),
        "evidence": _evidence(session), "subject": shown(held[0].subject) if held else "",
    }


def _alert(alert: Alert) -> dict[str, Any]:
    flow, rule = alert.flow, alert.rule
    return {
        "id": alert.id, "level": rule.level, "title": rule.title, "count": alert.count, "sid": rule.sid,
        "first": alert.first_ns, "last": alert.last_ns, "description": rule.description, "advice": rule.advice,
        "techniques": [shown(each) for each in rule.techniques], "falsepositives": rule.falsepositives,
        "reasons": list(_reasons(alert.why)), "packet": alert.packet, "file": shown(flow.source) if flow else "",
        "facts": [(name, shown(value)) for name, value in alert.context.items()],
        "filter": _wireshark(flow) if flow is not None else "",
    }


def _wireshark(flow: Flow) -> str:
    """A display filter for the conversation."""
    kind = "ipv6" if ":" in flow.client else "ip"
    transport = flow.protocol.lower()
    return shown(f"{kind}.addr == {flow.client} && {kind}.addr == {flow.server} && "
                 f"{transport}.port == {flow.client_port} && {transport}.port == {flow.server_port}")


def _reasons(why: Reason) -> Iterable[tuple[int, str, bool]]:
    """(depth, text, held) of the tree's conditions, in order."""
    stack, told = [(why, 0)], 0
    while stack and told < REASONS_SHOWN:
        reason, depth = stack.pop()
        value = f" ({reason.value})" if reason.value and reason.value not in reason.condition else ""
        packet = f", packet {reason.packet}" if reason.packet else ""
        yield min(depth, 6), words(f"{reason.condition}{value}{packet}"), reason.held
        told += 1
        stack += [(each, depth + 1) for each in reversed(reason.because)]


def _evidence(session: Event | None) -> list[dict[str, Any]]:
    if session is None or not isinstance(session.body, Session):
        return []
    return [{"code": shown(each.code), "side": shown(each.side), "packet": each.packet, "text": shown(each.text)}
            for each in session.body.evidence[:EVIDENCE_SHOWN]]


def _session(event: Event) -> dict[str, Any]:
    body, flow = event.body, event.flow
    assert isinstance(body, Session)
    said = body.software or body.greeting or body.sni or (body.evidence[0].text if body.evidence else "")
    return {
        "time": event.time_ns, "client": shown(flow.client) if flow else "",
        "server": _end(flow.server, flow.server_port) if flow else "", "flow_id": flow.flow_id if flow else "",
        "direction": shown(body.direction), "verdict": shown(body.verdict), "gravity": GRAVITY.get(body.verdict, 0),
        "confidence": shown(body.confidence), "kind": shown(body.protocol or body.shape or body.reason or ""),
        "bytes_client": body.bytes_client, "bytes_server": body.bytes_server, "packets": body.packets,
        "said": shown(said), "file": shown(flow.source) if flow else "",
    }


def _exposure(event: Event) -> dict[str, Any]:
    body, flow = event.body, event.flow
    assert isinstance(body, Exposure)
    traits = [("STARTTLS", body.starttls_offered), ("TLS", body.tls), ("sign-in in clear", body.sign_in_in_clear),
              ("signed in in clear", body.signed_in_in_clear)]
    return {
        "server": _end(flow.server, flow.server_port) if flow else "", "proto": shown(flow.protocol) if flow else "",
        "state": shown(body.state), "open": body.state == "open", "service": shown(body.service),
        "open_to": [shown(each) for each in body.open_to],
        "software": shown(body.software or body.banner), "traits": [name for name, holds in traits if holds],
        "clients_lan": body.clients_lan, "clients_wan": body.clients_wan, "connections": body.connections,
        "unexpected": [shown(each) for each in body.unexpected], "proxy": [shown(each) for each in body.proxy],
    }


def _beacon(event: Event) -> dict[str, Any]:
    body, flow = event.body, event.flow
    assert isinstance(body, Beacon)
    return {
        "client": shown(flow.client) if flow else "", "server": _end(flow.server, flow.server_port) if flow else "",
        "over": shown(body.over), "units": body.units, "score": f"{body.score:.2f}", "rhythm": f"{body.rhythm:.2f}",
        "damped": shown(body.damped), "interval": f"{body.interval_s:,.1f}", "jitter": f"{100 * body.jitter:.0f} %",
        "nature": _nature(body.verdict, body.protocol or body.shape), "direction": shown(body.direction),
    }


def _scan(event: Event) -> dict[str, Any]:
    body, flow = event.body, event.flow
    assert isinstance(body, Scan)
    subject = body.network
    if flow is not None and not subject:
        subject = _end(flow.server, flow.server_port) if body.by == "target" else flow.client
    return {
        "by": shown(body.by), "subject": shown(subject), "hosts": body.hosts, "knocks": body.knocks,
        "sources": body.sources, "conversations": body.conversations, "direction": shown(body.direction),
        "methods": ", ".join(map(shown, body.methods)), "tools": ", ".join(map(shown, body.tools)),
        "ports": ", ".join(str(port) for port in body.mail_ports[:16]),
    }


# ---- the gravest session ---------------------------------------------------------------------------------------------

def _gravest(cases: list[Case], alerts: Mapping[str, Alert], sessions: Mapping[int, Event],
             explain: Explain | None, markup: Callable[[str], Any]) -> dict[str, Any] | None:
    """The dialogue of the session behind the gravest case, where it can be read again."""
    if explain is None:
        return None
    case = next((case for case in cases if case.flow_id in sessions), None)
    if case is None or case.flow_id is None:
        return None
    event = sessions[case.flow_id]
    explanation = explain(event, [alerts[name] for name in case.alert_ids])
    if explanation is None or not explanation.lines:
        return None
    return {"heading": f"{shown(case.client)} > {_end(case.server, case.server_port)}", "flow_id": case.flow_id,
            "lines": _lines(explanation), "turns": markup(charts.session_turns(explanation.turns)),
            "more": explanation.left_out + max(0, len(explanation.lines) - LINES_SHOWN)}


def _lines(explanation: Explanation) -> list[dict[str, Any]]:
    start = explanation.lines[0].time_ns
    return [{"side": SIDES[line.side], "packet": line.packet, "seconds": f"{(line.time_ns - start) / 10**9:.3f}",
             "text": "\n".join(shown(part) for part in line.text.split("\n"))}
            for line in explanation.lines[:LINES_SHOWN]]


# ---- what could not be seen ------------------------------------------------------------------------------------------

def _account(body: Capture) -> dict[str, Any]:
    partly = [(f"{number(body.one_sided, 'conversation')} of which only one side is there", body.one_sided),
              (f"{number(body.midstream, 'conversation')} whose beginning is not there", body.midstream),
              (f"{body.capture_loss:.2f} % of the payload is missing", body.capture_loss >= 0.005)]
    return {
        "packets": body.packets, "processed": body.processed, "flows": body.flows,
        "skipped": _ordered(body.skipped), "limits": _ordered(body.limits), "notes": _ordered(body.notes),
        "partly": [text for text, holds in partly if holds], "interrupted": body.interrupted,
        "inputs": [{"name": shown(each.name), "status": shown(each.status), "format": shown(each.format),
                    "packets": each.packets, "damage": [shown(text) for text in each.damage[:8]],
                    "when": span_of_time(each.start, each.end)}
                   for each in sorted(body.inputs, key=lambda each: each.status == "ok")[:INPUTS_SHOWN]],
        "more_inputs": max(0, len(body.inputs) - INPUTS_SHOWN),
        "faulty": sum(each.status != "ok" for each in body.inputs),
    }


def _ordered(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return [(shown(name), count) for name, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:64]]
