"""IP headers: protocol numbers, IPv6 extension headers, and which ICMP messages tell that a port is closed or filtered.

Sources: RFC 791, RFC 8200, RFC 4302 (AH), RFC 2675 (jumbograms), RFC 792, RFC 4443, the IANA protocol numbers.
"""

from __future__ import annotations

HOP_BY_HOP, ICMP, IPV4, TCP, UDP, IPV6, ROUTING, FRAGMENT, GRE = 0, 1, 4, 6, 17, 41, 43, 44, 47
ESP, AH, ICMPV6, NO_NEXT_HEADER, DESTINATION_OPTIONS = 50, 51, 58, 59, 60
IPIP_OLD, ETHERIP, IPCOMP, MOBILITY, MPLS_IN_IP, HIP, SHIM6, ETHERNET = 94, 97, 108, 135, 137, 139, 140, 143

EXTENSION_HEADERS = (HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS, MOBILITY, HIP, SHIM6)
"""Next header, length in units of 8 bytes beyond the first 8 (RFC 8200 section 4). AH counts in units of 4."""

MORE_FRAGMENTS = 0x2000
FRAGMENT_MASK = 0x3FFF
"""More-fragments flag and offset of an IPv4 header: zero for a whole datagram (RFC 791 section 3.1)."""
IP_LENGTH_MAX = 65_535
OPTION_PAD1, OPTION_JUMBO = 0x00, 0xC2
"""RFC 8200 section 4.2, RFC 2675 section 2."""

PROTOCOL_NAMES = {
    2: "igmp", 50: "esp", 59: "no-next-header", 88: "eigrp", 89: "ospf", 103: "pim", 108: "ipcomp", 112: "vrrp",
    115: "l2tpv3", 132: "sctp", 33: "dccp", 46: "rsvp", 55: "mobile-ip", 8: "egp", 9: "igrp", 136: "udp-lite",
}
"""Names under which packets without TCP or UDP are counted."""

ICMP_ERRORS = {
    (3, 0): "net-unreachable", (3, 1): "host-unreachable", (3, 2): "protocol-unreachable", (3, 3): "port-unreachable",
    (3, 4): "too-big", (3, 5): "host-unreachable", (3, 6): "net-unreachable", (3, 7): "host-unreachable",
    (3, 8): "host-unreachable", (3, 9): "admin-prohibited", (3, 10): "admin-prohibited", (3, 11): "net-unreachable",
    (3, 12): "host-unreachable", (3, 13): "admin-prohibited", (3, 14): "admin-prohibited", (3, 15): "admin-prohibited",
    (11, 0): "time-exceeded", (11, 1): "time-exceeded", (12, 0): "parameter-problem", (12, 1): "parameter-problem",
    (12, 2): "parameter-problem",
}
"""(type, code) of ICMP errors about another packet: RFC 792, RFC 1122 section 3.2.2.1, RFC 1812 section 5.2.7.1."""

ICMPV6_ERRORS = {
    (1, 0): "net-unreachable", (1, 1): "admin-prohibited", (1, 2): "host-unreachable", (1, 3): "host-unreachable",
    (1, 4): "port-unreachable", (1, 5): "admin-prohibited", (1, 6): "admin-prohibited", (1, 7): "parameter-problem",
    (2, 0): "too-big", (3, 0): "time-exceeded", (3, 1): "time-exceeded", (4, 0): "parameter-problem",
    (4, 1): "parameter-problem", (4, 2): "parameter-problem",
}
"""(type, code) of ICMPv6 errors: RFC 4443 section 3, RFC 8883 section 2."""
