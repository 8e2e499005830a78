"""Firewall rules out of an exposure sheet, for nftables and iptables: first a variant that only logs, then a cut.

The cut is written as comments, so that the file may be loaded whole: then it only logs.

Only addresses, networks and ports that were parsed and written anew reach a command; what servers said stands in
comments, as safe text.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from imapids.desk.exposure import Sheet, body_of, key_of
from imapids.observe import Allowed
from imapids.output.table_text import number, one_line, span_of_time
from imapids.protocols.mail_services import MAIL_PORTS
from imapids.records.events import Capture, Event, Exposure

KINDS = ("nftables", "iptables")
NAME = "imapids_mail"
CHAIN = "IMAPIDS-MAIL"
LATER = "#> "
"""Begins each line of the step that cuts: the file may be pasted whole, and cuts nothing until these are taken off."""
_LOG = "limit rate 10/minute burst 20 packets"
_LIMIT = "-m limit --limit 10/min --limit-burst 20"
_LINE = 110

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Pass(NamedTuple):
    """What may come in: from some networks to one address and port."""

    sources: tuple[Network, ...]
    """Empty: from anywhere."""
    server: Network
    ports: tuple[int, ...]
    transport: str
    evidence: tuple[str, ...]


class Cut(NamedTuple):
    """What will not come in any more: from outside to one address and port."""

    server: Network
    port: int
    transport: str
    evidence: tuple[str, ...]


class Plan(NamedTuple):
    """What the rules shall do, whatever the language."""

    home: tuple[Network, ...]
    passes: tuple[Pass, ...]
    cuts: tuple[Cut, ...]
    remarks: tuple[str, ...]
    """What the reader should know first: the time that was watched, what is not known."""


def plan(sheet: Sheet, home_nets: Sequence[str], inventory: Sequence[Allowed] = ()) -> Plan:
    """What to let in and what to cut: mail ports of the home network, from outside.

    Inside may go on as it did. From outside comes in what the inventory names, and mail for a server that received
    some on port 25 (or nobody could write to it any more); all else is cut.
    """
    home = tuple(sorted({ipaddress.ip_network(text, strict=False) for text in home_nets},
                        key=lambda network: (network.version, network)))
    passes, cuts = [], []
    for allowed in inventory:
        for server in map(_network, allowed.servers):
            sources = tuple(source for source in map(_network, allowed.clients)
                            if source.version == server.version and not _inside(source, home))
            if sources:
                anywhere = any(source.prefixlen == 0 for source in sources)
                note = f": {one_line(allowed.note, 80)}" if allowed.note else ""
                passes.append(Pass(() if anywhere else sources, server, allowed.ports, allowed.transport,
                                   (f"the inventory allows it{note}",)))
    for line in sheet.lines:
        body, (address, port, transport) = body_of(line), key_of(line)
        if not body.home or body.state != "open":
            continue
        server = _network(address)
        if "lan" in body.open_to:
            inside = tuple(network for network in map(_network, body.networks) if _inside(network, home))
            passes.append(Pass(inside, server, (port,), transport, (
                f"{number(body.clients_lan, 'client')} inside used it; {_what(body)}",)))
        if "wan" not in body.open_to or _is_named(server, port, transport, inventory):
            continue
        evidence = _evidence(line, home)
        if port == 25 and transport == "tcp" and body.service in ("smtp", ""):
            passes.append(Pass((), server, (port,), transport, (
                *evidence, "other mail servers bring mail here: closing it would end that. Delete the rule if not")))
        else:
            cuts.append(Cut(server, port, transport, evidence))
    return Plan(home, tuple(passes), tuple(cuts), tuple(_remarks(sheet)))


def firewall(form: str, what: Plan) -> Iterator[str]:
    """The lines of the rules: `nftables` (for nft -f) or `iptables` (a shell script around iptables-restore).

    Step 1 only logs; the lines of step 2, which cuts, are comments that begin with `LATER`.
    """
    head, step = (_nft_head, _nft_step) if form == "nftables" else (_iptables_head, _iptables_step)
    yield from head(what)
    yield ""
    yield _STEP_1
    yield from step(what, False)
    yield ""
    yield from _STEP_2
    for line in step(what, True):
        yield f"{LATER}{line}"
    yield _END


def _network(text: str) -> Network:
    return ipaddress.ip_network(text, strict=False)


def _inside(network: Network, home: Sequence[Network]) -> bool:
    return any(network.version == mine.version and network.subnet_of(mine)  # type: ignore[arg-type]
               for mine in home)


def _is_named(server: Network, port: int, transport: str, inventory: Sequence[Allowed]) -> bool:
    """Whether the inventory lets somebody outside use an endpoint: its own rule says for whom."""
    return any(
        transport == allowed.transport and port in allowed.ports and any(
            _inside(server, [_network(text)]) for text in allowed.servers) and any(
            _network(text).prefixlen == 0 for text in allowed.clients)
        for allowed in inventory)


def _what(body: Exposure) -> str:
    """What a server is, in a few words."""
    words = " ".join(part for part in (body.service, one_line(body.software, 40)) if part) or "an unknown service"
    clear = ", sign-in before TLS" if body.sign_in_in_clear or body.signed_in_in_clear else ""
    return f"{words}{clear}; {span_of_time(body.first_seen, body.last_seen)}"


def _evidence(line: Event, home: Sequence[Network]) -> tuple[str, ...]:
    """Why a rule is there, and whom it cuts off."""
    body = body_of(line)
    outside = [text for text in body.networks if not _inside(_network(text), home)]
    flow = line.flow
    assert flow is not None
    source = f", first in packet {flow.first_packet} of {one_line(flow.source, 80)}" if flow.first_packet else ""
    return (f"open to the outside: {_what(body)}{source}",
            f"it would have cut off {number(body.connections_wan, 'connection')} of "
            f"{number(body.clients_wan, 'client')} outside" + (f", from {', '.join(outside)}" if outside else ""))


def _remarks(sheet: Sheet) -> Iterator[str]:
    capture = sheet.result.capture.body
    assert isinstance(capture, Capture)
    yield f"watched: {span_of_time(capture.start, capture.end) or 'no packets'}"
    yield "What nobody used in that time is not known here: a client that comes once a month, another mail server."
    bodies = [body_of(line) for line in sheet.lines]
    if not any(body.home for body in bodies):
        yield "No server of the home network was seen: --home-net says which networks are yours."
    asked = sum(body.home and body.state != "open" and "wan" in body.asked_by for body in bodies)
    if asked:
        yield f"Asked in vain from outside: {asked:,} other addresses and ports of yours."


def _comments(texts: Sequence[str], indent: str = "") -> Iterator[str]:
    for text in texts:
        yield f"{indent}# {one_line(text, _LINE * 3)}"


# ---- nftables -------------------------------------------------------------------------------------------------------

def _nft_head(what: Plan) -> Iterator[str]:
    yield "# Mail ports of the home network, for nftables. Made by imapids exposure --firewall nftables."
    yield from _comments(what.remarks)
    yield "# Both steps replace the same table and touch no other one. To undo either:"
    yield f"#   nft delete table inet {NAME}"
    yield f"# What it counted so far: nft list table inet {NAME}"


def _nft_step(what: Plan, acts: bool) -> Iterator[str]:
    """One step as a table that replaces the one that is there."""
    yield f"table inet {NAME} {{}}"
    yield f"delete table inet {NAME}"
    yield f"table inet {NAME} {{"
    for version in (4, 6):
        networks = [str(network) for network in what.home if network.version == version]
        yield f"  set home{version} {{"
        yield f"    type ipv{version}_addr; flags interval; auto-merge"
        if networks:
            yield f"    elements = {{ {', '.join(networks)} }}"
        yield "  }"
    for hook in ("input", "forward"):
        yield f"  chain {hook} {{"
        yield f"    type filter hook {hook} priority filter - 5; policy accept"
        for transport in ("tcp", "udp"):
            yield f"    {transport} dport {{ {', '.join(map(str, _ports(what, transport)))} }} jump mail"
        yield "  }"
    yield "  chain mail {"
    yield "    # what is under way goes on"
    yield "    ct state established,related return"
    for each in what.passes:
        yield from _comments(each.evidence, "    ")
        yield f"    {_nft_sources(each.sources)}{_nft_server(each.server)}{_nft_ports(each)} counter return"
    yield "    # the rest of the home network"
    yield "    ip saddr @home4 counter return"
    yield "    ip6 saddr @home6 counter return"
    for cut in what.cuts:
        yield from _comments(cut.evidence, "    ")
        match = f"{_nft_server(cut.server)}{cut.transport} dport {cut.port}"
        yield f'    {match} {_LOG} log prefix "imapids {cut.transport} {cut.port} "'
        yield f"    {match} counter" + (" drop" if acts else "")
    yield "    # whatever else comes from outside to mail ports of the home network"
    for family, version in (("ip", 4), ("ip6", 6)):
        for transport, ports in (("tcp", ", ".join(map(str, MAIL_PORTS))), ("udp", "143")):
            match = f"{family} daddr @home{version} {transport} dport {{ {ports} }}"
            yield f'    {match} {_LOG} log prefix "imapids mail "'
            yield f"    {match} counter" + (" drop" if acts else "")
    yield "  }"
    yield "}"


_STEP_1 = "# ---- Step 1: only log. Look at the log (journalctl -k -g imapids) for some days. ----"
_STEP_2 = (
    "# ---- Step 2: cut what comes from outside. Not active: each of its lines is a comment. ----",
    "# When step 1 logged nothing that you need, take the marks off and load the file again; step 2 replaces step 1:",
    f"#   sed -i 's/^{LATER}//' FILE",
)
_END = "# ---- End of step 2 ----"


def _ports(what: Plan, transport: str) -> list[int]:
    """All ports that a rule is about, the mail ports among them."""
    own = {port for each in what.passes if each.transport == transport for port in each.ports}
    own |= {cut.port for cut in what.cuts if cut.transport == transport}
    return sorted(own | (set(MAIL_PORTS) if transport == "tcp" else {143}))


def _nft_sources(sources: Sequence[Network]) -> str:
    if not sources:
        return ""
    return f"{'ip' if sources[0].version == 4 else 'ip6'} saddr {{ {', '.join(map(str, sources))} }} "


def _nft_server(server: Network) -> str:
    return f"{'ip' if server.version == 4 else 'ip6'} daddr {_short(server)} "


def _nft_ports(each: Pass) -> str:
    ports = sorted(set(each.ports))
    return f"{each.transport} dport " + (str(ports[0]) if len(ports) == 1 else f"{{ {', '.join(map(str, ports))} }}")


def _short(network: Network) -> str:
    """A single address without its length."""
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


# ---- iptables -------------------------------------------------------------------------------------------------------

def _iptables_head(what: Plan) -> Iterator[str]:
    yield "#!/bin/sh"
    yield "# Mail ports of the home network, for iptables and ip6tables. Made by imapids exposure --firewall iptables."
    yield from _comments(what.remarks)
    yield f"# Both steps fill the same chain, {CHAIN}, and touch no other rule. To undo either:"
    for tool in ("iptables", "ip6tables"):
        yield (f"#   for c in INPUT FORWARD; do {tool} -D $c -j {CHAIN}; done; "
               f"{tool} -F {CHAIN}; {tool} -X {CHAIN}")
    yield f"# What it counted so far: iptables -nvL {CHAIN}; ip6tables -nvL {CHAIN}"


def _iptables_step(what: Plan, acts: bool) -> Iterator[str]:
    """One step as commands of a shell."""
    for version, tool in ((4, "iptables"), (6, "ip6tables")):
        yield f"{tool}-restore --noflush <<'END_OF_RULES'"
        yield "*filter"
        yield f":{CHAIN} - [0:0]"
        yield from _restore_rules(what, version, acts)
        yield "COMMIT"
        yield "END_OF_RULES"
        for hook in ("INPUT", "FORWARD"):
            yield f"{tool} -C {hook} -j {CHAIN} 2>/dev/null || {tool} -I {hook} -j {CHAIN}"


def _restore_rules(what: Plan, version: int, acts: bool) -> Iterator[str]:
    """The chain of one family."""
    add = f"-A {CHAIN}"
    yield f"{add} -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN"
    for each in what.passes:
        if each.server.version == version:
            yield from _comments(each.evidence)
            for source in each.sources or (None,):
                came = f" -s {_short(source)}" if source is not None else ""
                for port in sorted(set(each.ports)):
                    yield f"{add}{came} -d {_short(each.server)} -p {each.transport} --dport {port} -j RETURN"
    home = [network for network in what.home if network.version == version]
    yield "# the rest of the home network"
    for network in home:
        yield f"{add} -s {_short(network)} -j RETURN"
    for cut in what.cuts:
        if cut.server.version == version:
            yield from _comments(cut.evidence)
            match = f"{add} -d {_short(cut.server)} -p {cut.transport} --dport {cut.port}"
            yield f'{match} {_LIMIT} -j LOG --log-prefix "imapids {cut.transport} {cut.port} "'
            if acts:
                yield f"{match} -j DROP"
    yield "# whatever else comes from outside to mail ports of the home network"
    ports = ",".join(map(str, MAIL_PORTS))
    for network in home:
        for match in (f"{add} -d {_short(network)} -p tcp -m multiport --dports {ports}",
                      f"{add} -d {_short(network)} -p udp --dport 143"):
            yield f'{match} {_LIMIT} -j LOG --log-prefix "imapids mail "'
            if acts:
                yield f"{match} -j DROP"
