"""Who knocks on mail ports without a conversation: counts by source, network of sources, target, and campaign.

Thresholds of alerts are in rules. The odds of sequential testing (TRW: Jung, Paxson, Berger, Balakrishnan, "Fast
portscan detection using sequential hypothesis testing", 2004) are told as a number; its two assumptions are parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import numpy as np

from imapids.config import ObserveLimits
from imapids.observe.counting import Marks, Offer, Snapshot, at_step, decision, parts_of
from imapids.observe.knocks import METHODS, PORT_NAMES
from imapids.observe.observer import Told
from imapids.observe.scan_rows import (
    CLIENT,
    CONVERSATIONS,
    FAILED,
    FIELDS,
    HALF_OPEN,
    HOST,
    HOST_PORT,
    HOSTS,
    KNOCKS,
    METHOD,
    NETWORK,
    NETWORKS,
    ODD,
    PORT,
    PORTS,
    REFUSED,
    SERVER_PORT,
    SOURCE_PORT,
    SOURCE_PORTS,
    SOURCES,
    TALKED,
    TARGET,
    TOOL,
    TRAITS,
    UNANSWERED,
    VAIN_HOSTS,
    VAIN_TARGETS,
    ScanRows,
    scan_rows,
)
from imapids.observe.tables import group_counts, seen_before
from imapids.protocols.addresses import network_around
from imapids.protocols.identifiers import short_hash
from imapids.protocols.known_scanners import KnownScanners
from imapids.protocols.scan_tools import TOOLS, traits_text
from imapids.records.events import Event, Scan
from imapids.records.flows import EndedFlows
from imapids.records.packets import I64, U64, Bool
from imapids.records.streams import Flow

_ROWS = 16_384
"""Rows that are counted at once: some MiB of columns."""
_FEW = 5
"""Hosts or sources at which the first line is told: below that nothing can be said."""
_SPREAD = 3
"""Networks from which on a campaign is told of: before, the lines about sources and networks say it all."""
_BY = ("source", "network", "target", "campaign")
_SOURCE, _NETWORK, _TARGET, _CAMPAIGN = range(4)
_KEYS = (CLIENT, NETWORK, TARGET, TRAITS)
_OFFERS = (
    ((HOST, (HOSTS, FAILED, TALKED)), (HOST_PORT, (VAIN_TARGETS,)), (SERVER_PORT, (PORTS,)), (HOST, (VAIN_HOSTS,))),
    ((CLIENT, (SOURCES,)), (HOST, (HOSTS, FAILED))),
    ((CLIENT, (SOURCES,)),),
    ((CLIENT, (SOURCES,)), (NETWORK, (NETWORKS,)), (SOURCE_PORT, (SOURCE_PORTS,)), (HOST, (HOSTS, FAILED))),
)
"""Of which columns each kind of group has different values counted, and the fields that new ones add to."""
_Placed = tuple[int, int, Told]
"""What is told at a row, by which kind of group: rows of one packet are told in this order, however they were cut."""


class ScanObserver:
    """Counts knocks; see records/events.Scan for what is told and when."""

    kinds: frozenset[str] = frozenset()
    makes = frozenset({"scan"})
    wants_flows = True

    def __init__(self, limits: ObserveLimits, *, scanners: KnownScanners | None = None,
                 success_of_clients: float = 0.8, success_of_scanners: float = 0.2) -> None:
        """
        Args:
            scanners: who is known to search the whole Internet, to name them.
            success_of_clients, success_of_scanners: how likely the first contact of an ordinary client, and of a
                scanner, with a new server is answered (the figures of the TRW paper).
        """
        self._limits = limits
        self._scanners = scanners or KnownScanners()
        self._failure = log((1 - success_of_scanners) / (1 - success_of_clients))
        self._success = log(success_of_scanners / success_of_clients)
        self._groups = tuple(group_counts(FIELDS, limits.groups) for _ in _BY)
        self._offers = tuple(tuple(
            Offer(seen_before(limits.values // 2), column, sum(1 << field for field in fields))
            for column, fields in offers) for offers in _OFFERS)
        self._told: tuple[dict[int, tuple[Flow, int, str, str]], ...] = ({}, {}, {}, {})
        """By group: the first conversation that was told of, the packet it began with, its traits and campaign."""
        self._began: I64 = np.zeros(0, np.int64)
        """When the first conversation of each campaign began, by group."""
        self._hour = -(1 << 62)
        self._dropped = 0

    def know(self, scanners: KnownScanners) -> None:
        """Other names from now on."""
        self._scanners = scanners

    @property
    def limits_hit(self) -> dict[str, int]:
        """Groups that were dropped for others, and how often values were forgotten."""
        hit = {"scan-groups": self._dropped, "scan-values": sum(
            offer.seen.forgotten for offers in self._offers for offer in offers)}
        return {name: count for name, count in hit.items() if count}

    def see(self, events: Sequence[Event], known: Sequence[int]) -> list[Told]:  # noqa: ARG002  # an observer has it
        """Takes no events."""
        return []

    def see_flows(self, ended: EndedFlows) -> list[Told]:
        """Counts the knocks among conversations that are over."""
        rows = scan_rows(ended)
        if rows is None:
            return []
        told: list[_Placed] = []
        start = 0
        hours = np.maximum.accumulate(np.maximum(rows.over_ns // self._limits.hour_ns, self._hour))
        while start < len(rows):
            hour = int(hours[start])
            if hour > self._hour:
                self._hour = hour
                told += [(start, -1, each) for each in self._sweep(int(rows.over_ns[start]), int(rows.known[start]))]
            stop = int(np.searchsorted(hours, hour, side="right"))
            for part in parts_of(stop - start, _ROWS):
                told += self._count(ended, rows, start + part.start, start + part.stop)
            start = stop
        told.sort(key=lambda each: each[:2])
        return [each for _, _, each in told]

    def finish(self, now_ns: int, known: int) -> list[Told]:
        """Tells of everything that was told of before, for the last time."""
        return [each for by in range(len(_BY))
                for each in self._drop(by, self._groups[by].every(), now_ns, known)]

    # ---- counting -----------------------------------------------------------------------------------------------

    def _count(self, ended: EndedFlows, rows: ScanRows, start: int, stop: int) -> list[_Placed]:
        """Counts rows for all kinds of groups; a full table drops its quietest groups between two rows."""
        told: list[_Placed] = []
        every = np.arange(start, stop)
        knocks = every[rows.knock[start:stop]]
        for by in (_CAMPAIGN, _SOURCE, _NETWORK, _TARGET):  # the lines about sources name their campaign
            chosen = every if by == _SOURCE else knocks[rows.traits[knocks] != 0] if by == _CAMPAIGN else knocks
            groups = self._groups[by]
            while chosen.size:
                of, new, bits = groups.place(rows, _KEYS[by], chosen, self._offers[by])
                fitting = len(of)
                if fitting:
                    told += self._add(by, ended, rows, chosen[:fitting], of, new, bits)
                chosen = chosen[fitting:]
                if chosen.size:
                    quiet = groups.quietest(groups.limit // 4)
                    self._dropped += len(quiet)
                    row = int(chosen[0])
                    told += [(row, by, each) for each in
                             self._drop(by, quiet, int(rows.over_ns[row]), int(rows.known[row]))]
        return told

    def _add(self, by: int, ended: EndedFlows, rows: ScanRows, chosen: I64, of: I64, new: I64,
             bits: U64) -> list[_Placed]:
        """Counts rows that have a group each, `of`; `new`: which of them made one; `bits`: what they add to."""
        if by == _CAMPAIGN:
            rows.campaign_ns[chosen] = self._campaigns(of, new, rows.first_ns[chosen])
        snapshots = self._groups[by].count(rows, chosen, of, bits, _DECISIONS[by])
        if not snapshots:
            return []
        at = [int(chosen[snapshot.row]) for snapshot in snapshots]
        self._take_examples(by, snapshots, ended, rows.at[at])
        return [(row, by, self._tell(by, snapshot, rows, row)) for snapshot, row in zip(snapshots, at, strict=True)]

    def _campaigns(self, groups: I64, new: I64, first_ns: I64) -> I64:
        """When the campaigns of rows began: with the row that made the group, which no cut of the rows changes."""
        if len(groups) and int(groups.max()) >= len(self._began):
            longer = np.zeros(2 * (int(groups.max()) + 1), np.int64)
            longer[: len(self._began)] = self._began
            self._began = longer
        self._began[groups[new]] = first_ns[new]
        began: I64 = self._began[groups]
        return began

    # ---- telling ------------------------------------------------------------------------------------------------

    def _take_examples(self, by: int, snapshots: Sequence[Snapshot], ended: EndedFlows, at: I64) -> None:
        """The conversation that a group was first told of stays its example; `at`: those of what is told."""
        told, first = self._told[by], dict[int, int]()
        for snapshot, place in zip(snapshots, at.tolist(), strict=True):
            if snapshot.group not in told:
                first.setdefault(snapshot.group, place)
        if first:
            flows = ended.describe(list(first.values()))
            told.update({group: (flow, flow.first_packet, "", "") for group, flow in zip(first, flows, strict=True)})

    def _tell(self, by: int, snapshot: Snapshot, rows: ScanRows, row: int) -> Told:
        """The event of a group at a row."""
        told, group = self._told[by], snapshot.group
        if not told[group][2] and rows.knock[row] and rows.traits[row]:
            traits = traits_text(int(rows.traits[row]))
            told[group] = (*told[group][:2], traits, _identity(traits, int(rows.campaign_ns[row])))
        over_ns, known = int(rows.over_ns[row]), int(rows.known[row])
        return known, self._event(by, snapshot, over_ns, final=False)

    def _event(self, by: int, snapshot: Snapshot, known_ns: int, *, final: bool) -> Event:
        flow, packet, traits, campaign = self._told[by][snapshot.group]
        counts = snapshot.counts.tolist()
        answered = counts[HOSTS] - counts[FAILED] + counts[TALKED]
        span_s = max(snapshot.last_ns - snapshot.first_ns, 0) / 1e9
        spread = counts[SOURCES] if by == _TARGET else counts[HOSTS]
        body = Scan(
            by=_BY[by], hosts=1 if by == _TARGET else counts[HOSTS], hosts_failed=counts[FAILED],
            hosts_talked=counts[TALKED], knocks=counts[KNOCKS], conversations=counts[CONVERSATIONS],
            refused=counts[REFUSED], unanswered=counts[UNANSWERED], half_open=counts[HALF_OPEN],
            odd_probes=counts[ODD], methods=_named(METHODS, counts[METHOD:PORT]),
            mail_ports=sorted({port for port, count in zip(PORT_NAMES, counts[PORT:TOOL], strict=True) if count}),
            sources=max(counts[SOURCES], 1), ports=counts[PORTS],
            further_ports=counts[VAIN_TARGETS] - counts[VAIN_HOSTS],
            tools=_named(TOOLS[1:], counts[TOOL + 1 : FIELDS]),
            likelihood=round(counts[FAILED] * self._failure + answered * self._success, 2),
            per_minute=round(spread / max(span_s / 60, 1 / 60), 2), span_s=round(span_s, 3),
            network=network_around(flow.client) if by == _NETWORK else "", traits=traits, campaign=campaign,
            scanner=self._scanners.name_of(flow.client) if by in (_SOURCE, _NETWORK) else "",
            networks=counts[NETWORKS], source_ports=counts[SOURCE_PORTS],
            overlap=round(counts[KNOCKS] / max(counts[HOSTS], 1), 2) if by == _CAMPAIGN else 0.0,
            final=final, direction=flow.direction,
        )
        return Event("scan", flow.start_ns, body, flow, packet, known_ns)

    def _sweep(self, now_ns: int, known: int) -> list[Told]:
        """Tells for the last time of groups that have been quiet for long."""
        quiet_ns = now_ns - self._limits.scan_idle_ns
        return [each for by in range(len(_BY))
                for each in self._drop(by, self._groups[by].quiet_since(quiet_ns), now_ns, known)]

    def _drop(self, by: int, groups: I64, now_ns: int, known: int) -> list[Told]:
        """Forgets groups; those that were told of are told of once more."""
        counts, told = self._groups[by], self._told[by]
        shown = groups[np.isin(groups, np.fromiter(told, np.int64, len(told)))].tolist()
        events = [(known, self._event(by, counts.now(group), now_ns, final=True)) for group in shown]
        for group in shown:
            del told[group]
        counts.drop(groups)
        return events


def _identity(traits: str, began_ns: int) -> str:
    """12 hex digits for all knocks with some traits since a moment: the same on every machine that saw the first."""
    return short_hash(f"{traits} {began_ns}", size=6)


def _named(names: Sequence[str], counts: Sequence[int]) -> dict[str, int]:
    return {name: count for name, count in zip(names, counts, strict=True) if count}


def _of_source(rows: Marks, running: I64) -> Bool:
    hosts, knocks, odd, targets, ports, tools = range(6)
    told = at_step(rows, running, hosts, _FEW) | at_step(rows, running, knocks) | at_step(rows, running, odd, 1)
    told |= (running[:, knocks] > 0) & (at_step(rows, running, targets) | at_step(rows, running, ports))
    marked = np.flatnonzero(rows[:, tools:].any(axis=1))
    told[marked] |= ((rows[marked, tools:] != 0) & (running[marked, tools:] == 1)).any(axis=1)
    return told


def _of_network(rows: Marks, running: I64) -> Bool:
    """Networks are told of from the second source on: before, the source itself says it all."""
    hosts, sources = range(2)
    told: Bool = (at_step(rows, running, hosts, _FEW) & (running[:, sources] > 1)) | (
        at_step(rows, running, sources, _FEW))
    return told


def _of_target(rows: Marks, running: I64) -> Bool:
    return at_step(rows, running, 0, _FEW)


def _of_campaign(rows: Marks, running: I64) -> Bool:
    hosts, networks = range(2)
    told: Bool = (at_step(rows, running, hosts, _FEW) & (running[:, networks] >= _SPREAD)) | (
        at_step(rows, running, networks, _SPREAD, _FEW))
    return told


_DECISIONS = (
    decision(_of_source, FIELDS, (HOSTS, KNOCKS, ODD, VAIN_TARGETS, PORTS, *range(TOOL + 1, FIELDS)),
             {HOSTS: [_FEW], ODD: [1], **{tool: [1] for tool in range(TOOL + 1, FIELDS)}}),
    decision(_of_network, FIELDS, (HOSTS, SOURCES), {HOSTS: [_FEW], SOURCES: [_FEW]}),
    decision(_of_target, FIELDS, (SOURCES,), {SOURCES: [_FEW]}),
    decision(_of_campaign, FIELDS, (HOSTS, NETWORKS), {HOSTS: [_FEW], NETWORKS: [_SPREAD, _FEW]}),
)
"""When something is told, by kind of group: the functions look at the columns of the fields named."""
