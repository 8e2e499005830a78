"""The charts of a report, as SVG that stands in the page: drawn by altair and vl-convert, without script or style."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from typing import Any

import pandas as pd

from imapids.desk import plots
from imapids.desk.arrays import array
from imapids.desk.columns import TEXT, TIME, WORD, WORDS
from imapids.desk.frames import event_frame
from imapids.desk.report.digest import Digest
from imapids.desk.session_view import turn_frame
from imapids.desk.turns import Turn

WIDTH = 1000
"""Pixels of a chart with all its words; a narrower screen scrolls it."""
_NARROW = 700
"""A wider chart fills the page, a narrower one keeps its size."""
_SLACK = 30
"""Room beside it: the reader's font may be wider than the one that the words were measured with."""
_SVG = "http://www.w3.org/2000/svg"
_ELEMENTS = frozenset({"svg", "g", "path", "line", "rect", "text", "tspan", "defs", "clipPath", "title"})
_ATTRIBUTES = frozenset({
    "viewBox", "d", "x", "y", "x1", "x2", "y1", "y2", "dx", "dy", "width", "height", "transform", "fill", "stroke",
    "stroke-width", "stroke-miterlimit", "stroke-dasharray", "stroke-opacity", "fill-opacity", "opacity", "text-anchor",
    "font-family", "font-size", "font-weight", "font-style", "role", "aria-label", "aria-hidden",
    "aria-roledescription", "pointer-events",
})
_NO_URL = re.compile(r"(?i)url\s*\(|javascript:|data:")


def timeline(digest: Digest) -> str:
    """Sessions over time, by verdict; empty text where there are none."""
    rows = digest.timeline.rows()
    if not rows:
        return ""
    return svg(plots.timeline(pd.DataFrame({
        "time": array([time_ns for time_ns, _, _ in rows], TIME),
        "verdict": array([verdict for _, verdict, _ in rows], WORD, WORDS["verdict"]),
        "sessions": array([count for _, _, count in rows], "int64"),
    })))


def login_outcomes(digest: Digest) -> str:
    """Attempts to sign in by source."""
    if not digest.logins:
        return ""
    return svg(plots.login_outcomes(pd.DataFrame({
        "client": array([client for client, _ in digest.logins], TEXT),
        "outcome": array([outcome for _, outcome in digest.logins], WORD, WORDS["outcome"]),
        "logins": array(list(digest.logins.values()), "int64"),
    })))


def beacon_rhythm(digest: Digest) -> str:
    """When pairs connect, from the sessions that the report shows; only where some pair came back."""
    sessions, beacons = digest.sessions, digest.beacons.events
    often: dict[tuple[str, str, int], int] = {}
    for event in sessions:
        if event.flow is not None:
            key = event.flow.client, event.flow.server, event.flow.server_port
            often[key] = often.get(key, 0) + 1
    if max(often.values(), default=0) < 3:
        return ""
    scored = [event for event in beacons if getattr(event.body, "score", 0) > 0]
    return svg(plots.beacon_rhythm(event_frame("session", sessions),
                                   event_frame("beacon", scored) if scored else None))


def exposure_map(digest: Digest) -> str:
    """Mail ports of servers that answer on one of them, and to whom they do."""
    events = digest.exposure.events
    answering = {event.flow.server for event in events
                 if event.flow is not None and getattr(event.body, "state", "") == "open"}
    shown = [event for event in events if event.flow is not None and event.flow.server in answering]
    return svg(plots.exposure_map(event_frame("exposure", shown))) if shown else ""


def session_turns(turns: list[Turn]) -> str:
    """The turns of one session."""
    return svg(plots.session_turns(turn_frame(turns))) if turns else ""


def svg(chart: Any) -> str:
    """A chart as an `<svg>` element; axes and words have the colour of the text around it, by light and dark."""
    themed = chart.configure(
        background="transparent", font="system-ui, sans-serif", padding={"left": _SLACK, "right": _SLACK, "top": 4,
                                                                        "bottom": 4},
        axis={"labelColor": "currentColor", "titleColor": "currentColor", "domainColor": "currentColor",
              "tickColor": "currentColor", "gridColor": "currentColor", "gridOpacity": 0.14, "titleFontWeight": 500},
        legend={"labelColor": "currentColor", "titleColor": "currentColor"},
        title={"color": "currentColor", "subtitleColor": "currentColor", "frame": "group"}, view={"stroke": None})
    if chart.to_dict().get("width") == "container":
        themed = themed.properties(width=WIDTH, autosize={"type": "fit-x", "contains": "padding"})
    buffer = io.StringIO()
    themed.save(buffer, format="svg")
    return harmless(buffer.getvalue())


def harmless(text: str) -> str:
    """An SVG with nothing in it but shapes and words: whatever is not on the list is left out."""
    ET.register_namespace("", _SVG)
    root = ET.fromstring(text)  # noqa: S314  # vl-convert wrote it, in this process
    stack = [root]
    while stack:
        element = stack.pop()
        for name in list(element.attrib):
            if name not in _ATTRIBUTES or _NO_URL.search(element.attrib[name]):
                del element.attrib[name]
        for child in list(element):
            if isinstance(child.tag, str) and child.tag.removeprefix(f"{{{_SVG}}}") in _ELEMENTS:
                stack.append(child)
            else:
                element.remove(child)
    root.attrib.pop("height", None)  # it follows from the width
    root.set("role", "img")
    if float(root.get("width", "0")) > _NARROW:
        root.set("class", "wide")
    return ET.tostring(root, encoding="unicode")
