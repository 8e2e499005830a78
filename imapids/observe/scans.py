"""Who knocks on mail ports without a conversation: counts by source, network of sources, target, and campaign.

Thresholds of alerts are in rules. The odds of sequential testing (TRW: Jung, Paxson, Berger, Balakrishnan, "Fast
portscan detection using sequential hypothesis testing", 2004) are told as a number; its two assumptions are parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import log

import numpy as np

from imapids.config import ObserveLimits
from imapids.observe.counting import Marks, Snapshot, at_step, mixed, parts_of
from imapids.observe.knocks import METHODS, PORT_NAMES, Knocks, knocks_of
from imapids.observe.observer import Told
from imapids.observe.tables import group_counts, seen_before
from imapids.protocols.addresses import network_around
from imapids.protocols.identifiers import short_hash
from imapids.protocols.known_scanners import KnownScanners
from imapids.protocols.scan_tools import TOOLS, traits_text
from imapids.records.events import Event, Scan
from imapids.records.flows import EndedFlows
from imapids.records.packets import I64, U64, Bool
from imapids.records.segments import V4_PREFIX
from imapids.records.streams import Flow

(_HOSTS, _FAILED, _TALKED, _KNOCKS, _CONVERSATIONS, _REFUSED, _UNANSWERED, _HALF_OPEN, _ODD, _SOURCES, _PORTS,
 _VAIN_TARGETS, _VAIN_HOSTS, _NETWORKS, _SOURCE_PORTS) = range(15)
_METHOD = 15
_PORT = _METHOD + len(METHODS)
_TOOL = _PORT + len(PORT_NAMES)
_FIELDS = _TOOL + len(TOOLS)

_ROWS = 16_384
"""Rows that are counted at once: some MiB of columns."""
_FEW = 5
"""Hosts or sources at which the first line is told: below that nothing can be said."""
_SPREAD = 3
"""Networks from which on a campaign is told of: before, the lines about sources and networks say it all."""
_BY = ("source", "network", "target", "campaign")
_SOURCE, _NETWORK, _TARGET, _CAMPAIGN = range(4)
_KINDS = ((_HOSTS, _VAIN_TARGETS, _PORTS, _VAIN_HOSTS), (_HOSTS, _SOURCES), (_SOURCES,),
          (_HOSTS, _SOURCES, _NETWORKS, _SOURCE_PORTS))
"""Of which things each kind of group has different ones counted."""
_Placed = tuple[int, int, Told]
"""What is told at a row, by which kind of group: rows of one packet are told in this order, however they were cut."""
_V4_NETWORK = ~np.uint64(0xFF)
_LOW32 = np.uint64(0xFFFF_FFFF)


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
        self._groups = tuple(group_counts(_FIELDS, limits.groups) for _ in _BY)
        self._seen = {(by, kind): seen_before(limits.values // 2) for by, kinds in enumerate(_KINDS) for kind in kinds}
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
        hit = {"scan-groups": self._dropped, "scan-values": sum(seen.forgotten for seen in self._seen.values())}
        return {name: count for name, count in hit.items() if count}

    def see(self, events: Sequence[Event], known: Sequence[int]) -> list[Told]:  # noqa: ARG002  # an observer has it
        """Takes no events."""
        return []

    def see_flows(self, ended: EndedFlows) -> list[Told]:
        """Counts the knocks among conversations that are over."""
        knocks = knocks_of(ended)
        if knocks is None:
            return []
        rows = _Rows(ended, knocks)
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
                told += self._count(rows, start + part.start, start + part.stop)
            start = stop
        told.sort(key=lambda each: each[:2])
        return [each for _, _, each in told]

    def finish(self, now_ns: int, known: int) -> list[Told]:
        """Tells of everything that was told of before, for the last time."""
        return [each for by in range(len(_BY))
                for each in self._drop(by, self._groups[by].every(), now_ns, known)]

    # ---- counting -----------------------------------------------------------------------------------------------

    def _count(self, rows: _Rows, start: int, stop: int) -> list[_Placed]:
        """Counts rows for all kinds of groups; a full table drops its quietest groups between two rows."""
        told: list[_Placed] = []
        for by in (_CAMPAIGN, _SOURCE, _NETWORK, _TARGET):  # the lines about sources name their campaign
            chosen = np.arange(start, stop)
            if by != _SOURCE:
                chosen = chosen[rows.knock[start:stop] & rows.on_mail[start:stop]]
            if by == _CAMPAIGN:
                chosen = chosen[rows.traits[chosen] != 0]
            groups = self._groups[by]
            while chosen.size:
                keys = rows.keys(by, chosen)
                fitting = groups.fitting(keys)
                if fitting:
                    told += self._add(by, rows, chosen[:fitting], keys[:fitting])
                chosen = chosen[fitting:]
                if chosen.size:
                    quiet = groups.quietest(groups.limit // 4)
                    self._dropped += len(quiet)
                    row = int(chosen[0])
                    told += [(row, by, each) for each in
                             self._drop(by, quiet, int(rows.over_ns[row]), int(rows.known[row]))]
        return told

    def _add(self, by: int, rows: _Rows, chosen: I64, keys: U64) -> list[_Placed]:
        groups = self._groups[by]
        before = groups.made
        of, new = groups.groups_of(keys)
        if by == _CAMPAIGN:
            rows.campaign_ns[chosen] = self._campaigns(of, new, rows.first_ns[chosen])
        serial = groups.serial[of]
        counted = self._contributions(by, rows, chosen, serial, serial > before)
        snapshots = groups.add(of, counted, rows.first_ns[chosen], rows.last_ns[chosen], rows.over_ns[chosen],
                               _DECIDE[by], _DECISIVE[by])
        if not snapshots:
            return []
        at = [int(chosen[snapshot.row]) for snapshot in snapshots]
        self._take_examples(by, snapshots, rows, at)
        return [(row, by, self._tell(by, snapshot, rows, row)) for snapshot, row in zip(snapshots, at, strict=True)]

    def _contributions(self, by: int, rows: _Rows, at: I64, serial: U64, begun: Bool) -> Marks:
        """What each row adds to the counts of its group, shape (n, fields); `begun`: the group is new."""
        counted = np.zeros((len(at), _FIELDS), np.int8)
        knock, on_mail = rows.knock[at], rows.on_mail[at]
        host, port = rows.host[at], rows.server_port[at]
        mail_knock = knock & on_mail
        line = np.flatnonzero(mail_knock)
        counted[line, _KNOCKS] = 1
        counted[line, _METHOD + rows.method[at[line]]] = 1
        counted[line, _PORT + rows.port[at[line]]] = 1
        counted[line, _TOOL + rows.tool[at[line]]] = 1
        for field, column in ((_REFUSED, rows.refused), (_UNANSWERED, rows.unanswered), (_HALF_OPEN, rows.half_open),
                              (_ODD, rows.odd)):
            counted[:, field] = column[at] & on_mail
        vain = rows.refused[at] | rows.unanswered[at]
        if by != _SOURCE:
            counted[:, _SOURCES] = self._new(by, _SOURCES, on_mail, serial, begun, rows.client[at])
        if by == _CAMPAIGN:
            counted[:, _NETWORKS] = self._new(by, _NETWORKS, on_mail, serial, begun, rows.network[at])
            counted[:, _SOURCE_PORTS] = self._new(by, _SOURCE_PORTS, on_mail, serial, begun, rows.source_port[at])
        if by != _TARGET:
            new = self._new(by, _HOSTS, on_mail, serial, begun, host)
            counted[:, _HOSTS] = new & knock
            counted[:, _FAILED] = new & knock & vain
        if by == _SOURCE:
            counted[:, _TALKED] = new & ~knock
            counted[:, _CONVERSATIONS] = on_mail & ~knock
            counted[:, _VAIN_TARGETS] = self._new(by, _VAIN_TARGETS, vain, serial, begun, mixed(host, port))
            counted[:, _PORTS] = self._new(by, _PORTS, vain, serial, begun, port)
            counted[:, _VAIN_HOSTS] = self._new(by, _VAIN_HOSTS, vain, serial, begun, host)
        return counted

    def _new(self, by: int, kind: int, mask: Bool, serial: U64, begun: Bool, value: U64) -> Bool:
        """Which of the masked rows bring their group a value that it did not have before."""
        fresh = np.zeros(len(mask), np.bool_)
        at = np.flatnonzero(mask)
        if at.size:
            fresh[at] = self._seen[by, kind].add(mixed(serial[at], value[at]), begun[at])
        return fresh

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

    def _take_examples(self, by: int, snapshots: Sequence[Snapshot], rows: _Rows, at: Sequence[int]) -> None:
        """The conversation that a group was first told of stays its example; `at`: the rows of what is told."""
        told, first = self._told[by], dict[int, int]()
        for snapshot, row in zip(snapshots, at, strict=True):
            if snapshot.group not in told:
                first.setdefault(snapshot.group, row)
        if first:
            flows = rows.ended.describe(rows.at[list(first.values())].tolist())
            told.update({group: (flow, flow.first_packet, "", "") for group, flow in zip(first, flows, strict=True)})

    def _tell(self, by: int, snapshot: Snapshot, rows: _Rows, row: int) -> Told:
        """The event of a group at a row."""
        told, group = self._told[by], snapshot.group
        if not told[group][2] and rows.knock[row] and rows.on_mail[row] and rows.traits[row]:
            traits = traits_text(int(rows.traits[row]))
            told[group] = (*told[group][:2], traits, _identity(traits, int(rows.campaign_ns[row])))
        over_ns, known = int(rows.over_ns[row]), int(rows.known[row])
        return known, self._event(by, snapshot, over_ns, final=False)

    def _event(self, by: int, snapshot: Snapshot, known_ns: int, *, final: bool) -> Event:
        flow, packet, traits, campaign = self._told[by][snapshot.group]
        counts = snapshot.counts.tolist()
        answered = counts[_HOSTS] - counts[_FAILED] + counts[_TALKED]
        span_s = max(snapshot.last_ns - snapshot.first_ns, 0) / 1e9
        spread = counts[_SOURCES] if by == _TARGET else counts[_HOSTS]
        body = Scan(
            by=_BY[by], hosts=1 if by == _TARGET else counts[_HOSTS], hosts_failed=counts[_FAILED],
            hosts_talked=counts[_TALKED], knocks=counts[_KNOCKS], conversations=counts[_CONVERSATIONS],
            refused=counts[_REFUSED], unanswered=counts[_UNANSWERED], half_open=counts[_HALF_OPEN],
            odd_probes=counts[_ODD], methods=_named(METHODS, counts[_METHOD:_PORT]),
            mail_ports=sorted({port for port, count in zip(PORT_NAMES, counts[_PORT:_TOOL], strict=True) if count}),
            sources=max(counts[_SOURCES], 1), ports=counts[_PORTS],
            further_ports=counts[_VAIN_TARGETS] - counts[_VAIN_HOSTS],
            tools=_named(TOOLS[1:], counts[_TOOL + 1 : _FIELDS]),
            likelihood=round(counts[_FAILED] * self._failure + answered * self._success, 2),
            per_minute=round(spread / max(span_s / 60, 1 / 60), 2), span_s=round(span_s, 3),
            network=network_around(flow.client) if by == _NETWORK else "", traits=traits, campaign=campaign,
            scanner=self._scanners.name_of(flow.client) if by in (_SOURCE, _NETWORK) else "",
            networks=counts[_NETWORKS], source_ports=counts[_SOURCE_PORTS],
            overlap=round(counts[_KNOCKS] / max(counts[_HOSTS], 1), 2) if by == _CAMPAIGN else 0.0,
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


class _Rows:
    """The columns of the rows that matter, one value a row."""

    def __init__(self, ended: EndedFlows, knocks: Knocks) -> None:
        self.ended = ended
        self.at = at = knocks.at
        self.method, self.port, self.tool = knocks.method, knocks.port, knocks.tool
        self.refused, self.unanswered = knocks.refused, knocks.unanswered
        self.half_open, self.odd = knocks.half_open, knocks.odd
        self.knock: Bool = knocks.method >= 0
        self.on_mail = knocks.on_mail
        self._client_hi, self._client_lo = ended.client_hi[at], ended.client_lo[at]
        self.client = mixed(self._client_hi, self._client_lo)
        self.host = mixed(ended.server_hi[at], ended.server_lo[at])
        self.server_port = ended.server_port[at].astype(np.uint64)
        self.source_port = ended.client_port[at].astype(np.uint64)
        self.traits = ended.traits[at]
        self.campaign_ns = np.zeros(len(at), np.int64)
        """When the campaign began that a row belongs to, once it was counted for it."""
        self._protocol = ended.protocol[at].astype(np.uint64)
        self.first_ns, self.last_ns = ended.first_ns[at], ended.last_ns[at]
        self.over_ns, self.known = ended.over_ns[at], ended.known[at]

    def __len__(self) -> int:
        return len(self.at)

    @cached_property
    def network(self) -> U64:
        """Hashes of the clients' networks."""
        hi, lo = self._client_hi, self._client_lo
        v4 = (hi == 0) & (lo & ~_LOW32 == V4_PREFIX)
        return mixed(hi, np.where(v4, lo & _V4_NETWORK, np.uint64(0)))

    def keys(self, by: int, at: I64) -> U64:
        """Hashes of the groups that rows belong to."""
        if by == _SOURCE:
            return self.client[at]
        if by == _TARGET:
            return mixed(self.host[at], self.server_port[at], self._protocol[at])
        return mixed(self.traits[at]) if by == _CAMPAIGN else self.network[at]


def _identity(traits: str, began_ns: int) -> str:
    """12 hex digits for all knocks with some traits since a moment: the same on every machine that saw the first."""
    return short_hash(f"{traits} {began_ns}", size=6)


def _named(names: Sequence[str], counts: Sequence[int]) -> dict[str, int]:
    return {name: count for name, count in zip(names, counts, strict=True) if count}


_DECISIVE = (
    (_HOSTS, _KNOCKS, _ODD, _VAIN_TARGETS, _PORTS, *range(_TOOL + 1, _FIELDS)),
    (_HOSTS, _SOURCES),
    (_SOURCES,),
    (_HOSTS, _NETWORKS),
)
"""The counts that decide when something is told, by kind of group: the columns of the functions below."""


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


_DECIDE = (_of_source, _of_network, _of_target, _of_campaign)
