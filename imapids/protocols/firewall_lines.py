"""One line for a firewall that closes a mail port to the outside: for alerts, ready to paste."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable


def closing_line(server: str, port: int, transport: str, inside: Iterable[str]) -> str:
    """An nft command that cuts everybody off a server's port but some networks; empty where an address is none.

    It makes a table of its own (undo: `nft delete table inet imapids_close`). Addresses and networks are parsed and
    written anew: nothing else gets into the command.
    """
    if transport not in ("tcp", "udp") or not 0 < port < 65_536:
        return ""
    try:
        address = ipaddress.ip_address(server)
        networks = sorted({str(network) for network in map(ipaddress.ip_network, inside)
                           if network.version == address.version})
    except ValueError:
        return ""
    family = "ip" if address.version == 4 else "ip6"
    others = f" {family} saddr != {{ {', '.join(networks)} }}" if networks else ""
    cut = f"{family} daddr {address} {transport} dport {port}{others} counter drop"
    chains = " ".join(f"chain {hook} {{ type filter hook {hook} priority -5; {cut}; }};"
                      for hook in ("input", "forward"))
    return f"nft 'table inet imapids_close {{ {chains} }}'"
