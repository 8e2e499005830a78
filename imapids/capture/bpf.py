"""Kernel filters: classic BPF programs for packets of interest, and for sharing packets among several rings.

Sources: the kernel's Documentation/networking/filter.rst, include/uapi/linux/filter.h, packet(7).
"""

from __future__ import annotations

import re
import shutil
import socket
import struct
import subprocess
from array import array
from collections.abc import Iterable, Sequence

from imapids.errors import UsageError
from imapids.protocols import encapsulations as tunnels
from imapids.protocols import link_layers as link
from imapids.protocols.text import safe_str

Instruction = tuple[int, int, int, int]
"""(code, jump if true, jump if false, k), as in struct sock_filter."""
Program = tuple[Instruction, ...]

SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27
INSTRUCTIONS_MAX = 4_096
"""BPF_MAXINSNS: the kernel takes no longer program."""
COMPILE_SECONDS = 10
WHOLE = 0x40000
"""What an accepting program returns: take all bytes of the packet (libpcap's maximum)."""

WATCHED = "watched"
"""The word that asks for the built-in program instead of an expression."""

ETHERNET, RAW_IP = 1, 101

_LD_W, _LD_H, _LD_B = 0x20, 0x28, 0x30
_IND_W, _IND_H, _IND_B = 0x40, 0x48, 0x50
_LD, _LD_M, _LDX, _LDX_M, _ST, _TAX, _TXA = 0x00, 0x60, 0x01, 0x61, 0x02, 0x07, 0x87
_AND, _LSH, _RSH, _ADD, _ADD_X, _MUL = 0x54, 0x64, 0x74, 0x04, 0x0C, 0x24
_JA, _JEQ, _JSET = 0x05, 0x15, 0x45
_RET, _RET_A = 0x06, 0x16
_NETWORK = 0x1_0000_0000 - 0x100000
"""SKF_NET_OFF: loads count from the network header, wherever the link header ends."""
_PROTOCOL = 0x1_0000_0000 - 0x1000
"""SKF_AD_OFF + SKF_AD_PROTOCOL: the EtherType behind the tag that the kernel took off."""

REFUSE_ALL: Program = ((_RET, 0, 0, 0),)

_VLANS = (0x8100, 0x88A8, 0x9100)
_TAGS = 3
_OTHER_LINKS = (
    link.ETHERTYPE_MPLS, link.ETHERTYPE_MPLS_MULTICAST, link.ETHERTYPE_PPPOE, link.ETHERTYPE_PBB,
    link.ETHERTYPE_FABRICPATH, link.ETHERTYPE_TRILL, link.ETHERTYPE_NSH, link.ETHERTYPE_BRIDGED,
)
"""EtherTypes that may carry IP deeper inside: they pass whole."""
_TUNNEL_PROTOCOLS = (4, 41, 47, 115, 137)
"""IP in IP, IPv6, GRE, L2TPv3, MPLS in IP: they pass whole."""
_ERRORS = (1, 58)
"""ICMP and ICMPv6: errors tell of filtered and closed ports."""
_EXTENSIONS = (0, 43, 44, 51, 60, 135, 139, 140)
"""IPv6 extension headers (RFC 8200 section 4.1; 44 is the fragment header): rare, so they pass whole."""
_TUNNEL_PORTS = tuple(dict.fromkeys((
    *tunnels.VXLAN_PORTS, tunnels.VXLAN_GPE_PORT, tunnels.GENEVE_PORT, tunnels.GTP_U_PORT, tunnels.TEREDO_PORT,
    tunnels.L2TP_PORT, tunnels.CAPWAP_PORT, tunnels.GRE_IN_UDP_PORT, tunnels.MPLS_IN_UDP_PORT, tunnels.LISP_PORT,
    tunnels.TZSP_PORT,
)))
_TCP, _UDP = 6, 17


class _Assembler:
    """Instructions with named places; conditional jumps reach 255 instructions, `goto` any place further on."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int | str]] = []
        self._places: dict[str, int] = {}

    def add(self, code: int, k: int = 0) -> None:
        self._code.append((code, 0, 0, k))

    def place(self, name: str) -> None:
        self._places[name] = len(self._code)

    def goto(self, name: str) -> None:
        self._code.append((_JA, 0, 0, name))

    def goto_if(self, values: Iterable[int], name: str) -> None:
        """Goes on at a place where A is one of the values."""
        for value in values:
            self._code += [(_JEQ, 0, 1, value), (_JA, 0, 0, name)]

    def return_if(self, values: Iterable[int], result: int) -> None:
        for value in values:
            self._code += [(_JEQ, 0, 1, value), (_RET, 0, 0, result)]

    def return_if_set(self, bits: int, result: int) -> None:
        self._code += [(_JSET, 0, 1, bits), (_RET, 0, 0, result)]

    def program(self) -> Program:
        """The finished program.

        Raises:
            UsageError: it is longer than the kernel takes.
        """
        if len(self._code) > INSTRUCTIONS_MAX:
            raise UsageError("too many ports for the filter of the kernel: watch fewer, or leave --filter out.")
        return tuple(
            (code, jt, jf, k if isinstance(k, int) else self._places[k] - number - 1)
            for number, (code, jt, jf, k) in enumerate(self._code)
        )


def watch_program(tcp: Sequence[int], udp: Sequence[int], link_type: int = ETHERNET) -> Program:
    """Passes what may belong to flows on the watched ports, either way.

    That is: TCP and UDP from or to these ports with up to three VLAN tags, every fragment (only the first has ports),
    ICMP (its errors), and everything that may hold a packet inside: tunnels, MPLS, PPPoE, IPv6 extension headers.

    Args:
        link_type: LINKTYPE_ value: 1 Ethernet or 101 raw IP.
    """
    code = _Assembler()
    if link_type == ETHERNET:
        code.add(_LDX, 14)
        code.add(_LD_H, 12)
        for tag in range(_TAGS):
            code.goto_if(_VLANS, f"tag {tag}")
            code.goto("type")
            code.place(f"tag {tag}")
            code.add(_LDX, 18 + 4 * tag)
            code.add(_LD_H, 16 + 4 * tag)
        code.place("type")
        code.return_if(_OTHER_LINKS, WHOLE)
        code.goto_if((0x0800,), "IPv4")
        code.goto_if((0x86DD,), "IPv6")
    else:
        code.add(_LDX, 0)
        code.add(_LD_B, 0)
        code.add(_RSH, 4)
        code.goto_if((4,), "IPv4")
        code.goto_if((6,), "IPv6")
    code.add(_RET, 0)
    code.place("IPv4")
    code.add(_IND_H, 6)
    code.return_if_set(0x3FFF, WHOLE)  # more fragments, or not the first
    code.add(_IND_B, 0)
    code.add(_AND, 15)
    code.add(_LSH, 2)
    code.add(_ST, 0)  # the header's length
    code.add(_IND_B, 9)
    code.goto("protocol")
    code.place("IPv6")
    code.add(_LD, 40)
    code.add(_ST, 0)
    code.add(_IND_B, 6)
    code.return_if(_EXTENSIONS, WHOLE)
    code.place("protocol")
    code.return_if((*_TUNNEL_PROTOCOLS, *_ERRORS), WHOLE)
    wanted = {_TCP: tcp, _UDP: (*udp, *_TUNNEL_PORTS)}
    for protocol in wanted:
        code.goto_if((protocol,), f"protocol {protocol}")
    code.add(_RET, 0)
    for protocol, ports in wanted.items():
        code.place(f"protocol {protocol}")
        code.add(_TXA)
        code.add(_LD_M, 0)
        code.add(_ADD_X)
        code.add(_TAX)
        for at in (0, 2):
            code.add(_IND_H, at)
            code.return_if(ports, WHOLE)
        code.add(_RET, 0)
    return code.program()


def sharing_program() -> Program:
    """Gives packets of one pair of hosts the same number, either way, for PACKET_FANOUT_CBPF.

    The ports are left out on purpose: fragments have none, and a flow of which some datagrams come in fragments must
    not be torn apart (nor put together by the kernel, which settles overlaps in its own way). Packets without IP
    addresses behind at most two tags all go to the first ring.
    """
    code = _Assembler()
    code.add(_LDX, 0)
    code.add(_LD_W, _PROTOCOL)
    for tag in range(2):
        code.goto_if(_VLANS, f"tag {tag}")
        code.goto("type")
        code.place(f"tag {tag}")
        code.add(_LDX, 4 * (tag + 1))
        code.add(_LD_H, _NETWORK + 4 * tag + 2)
    code.place("type")
    code.goto_if((0x0800,), "IPv4")
    code.goto_if((0x86DD,), "IPv6")
    code.add(_RET, 0)
    for name, first, words in (("IPv4", 12, 2), ("IPv6", 8, 8)):
        code.place(name)
        code.add(_TXA)
        code.add(_ST, 1)  # where the header begins
        code.add(_LD, 0)
        code.add(_ST, 0)  # the sum so far
        for word in range(words):
            code.add(_IND_W, _NETWORK + first + 4 * word)
            code.add(_LDX_M, 0)
            code.add(_ADD_X)
            code.add(_ST, 0)
            code.add(_LDX_M, 1)
        code.add(_LD_M, 0)
        code.add(_MUL, 0x9E37_79B1)  # neighbouring addresses must not share a ring by their last bits alone
        code.add(_RSH, 16)
        code.add(_RET_A)
    return code.program()


def compile_expression(expression: str, interface: str) -> Program:
    """A filter in the words of tcpdump (pcap-filter(7)), compiled by tcpdump for the interface.

    Asking for the interface matters: the kernel takes the VLAN tag off, and only then `vlan` looks where it keeps it.

    Raises:
        UsageError: the expression is wrong, or no tcpdump is installed.
    """
    tcpdump = shutil.which("tcpdump")
    if tcpdump is None:
        raise UsageError("--filter needs tcpdump to understand an expression, and it is not installed; "
                         f"--filter {WATCHED} works without.")
    try:
        done = subprocess.run(  # noqa: S603  # no shell; the interface was found to exist
            [tcpdump, "-i", interface, "-ddd", "--", expression], capture_output=True, text=True, check=False,
            timeout=COMPILE_SECONDS, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        raise UsageError(f"--filter: tcpdump cannot be asked: {safe_str(str(error))}") from error
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise UsageError(f"--filter {safe_str(expression)!r}: {safe_str(said[-1]) if said else 'tcpdump refused it'}")
    return parse_program(done.stdout)


def parse_program(text: str) -> Program:
    """What `tcpdump -ddd` prints: the number of instructions, then one in each line, as decimal numbers.

    Raises:
        UsageError: it is something else.
    """
    lines = text.split("\n")
    rows = [tuple(map(int, line.split())) for line in lines if re.fullmatch(r"\d{1,5} \d{1,3} \d{1,3} \d{1,10}", line)]
    program: Program = tuple((row[0], row[1], row[2], row[3]) for row in rows)
    whole = bool(lines) and lines[0].strip() == str(len(program)) and all(
        code < 1 << 16 and max(jt, jf) < 256 and k < 1 << 32 for code, jt, jf, k in program)
    if not whole or not 0 < len(program) <= INSTRUCTIONS_MAX:
        raise UsageError("--filter: tcpdump answered with something that is no program.")
    return program


def encoded(program: Program) -> bytes:
    """The program as an array of struct sock_filter."""
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)


def attach(sock: socket.socket, program: Program) -> None:
    """Sets the socket's filter, in the place of one that it had."""
    set_program(sock, socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def set_program(sock: socket.socket, level: int, option: int, program: Program) -> None:
    """Sets a socket option that takes a struct sock_fprog."""
    buffer = array("B", encoded(program))  # must live until the kernel has copied it
    sock.setsockopt(level, option, struct.pack("HP", len(program), buffer.buffer_info()[0]))
