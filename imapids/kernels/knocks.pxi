"""Ended conversations as the rows that observers count: one pass over the columns of `EndedFlows`."""

cdef enum:
    PSH = 8
    URG = 32
    UDP = 17
    FOUND = 2  # of `EndedFlows.selected`
    KNOCK_PORT = 143  # the UDP port that is looked at
    UDP_CODE = 7  # its position in `PORT_NAMES`
    REJECTED = 2  # values of `EndedFlows.state`
    SILENT = 3
    NO_ROW = -2  # instead of a method: the flow says nothing
    CONVERSATION = -1
    BY_LONE_SYN = 0  # positions in `METHODS`
    BY_CONNECT = 1
    BY_BANNER = 2
    BY_FIN = 3
    BY_NULL = 4
    BY_XMAS = 5
    BY_LONE_ACK = 6
    BY_UDP = 7

# The fields of observe/scan_rows.py, as bits.
cdef uint64_t HOSTS = 1 << 0, FAILED = 1 << 1, TALKED = 1 << 2, KNOCKS = 1 << 3, CONVERSATIONS = 1 << 4
cdef uint64_t REFUSED = 1 << 5, UNANSWERED = 1 << 6, HALF_OPEN = 1 << 7, ODD = 1 << 8
cdef uint64_t OF_MAIL = 1 << 9 | 1 << 13 | 1 << 14  # SOURCES, NETWORKS, SOURCE_PORTS
cdef uint64_t OF_VAIN = 1 << 10 | 1 << 11 | 1 << 12  # PORTS, VAIN_TARGETS, VAIN_HOSTS

cdef enum:
    METHOD = 15  # the first fields of the methods, ports and tools
    PORT = 23
    TOOL = 31
    TOOLS = 5


cdef inline uint64_t _network(uint64_t hi, uint64_t lo) noexcept nogil:
    """The low half of the address of the network that is counted: a /24 of IPv4, a /64 of IPv6."""
    return lo & ~<uint64_t>0xFF if hi == 0 and lo >> 32 == 0xFFFF else 0


cdef inline int _method(bint udp, uint8_t client, uint8_t server, bint sent, bint got, int64_t packets, bint silent,
                        bint began) noexcept nogil:
    """`_methods` of observe/knocks.py. `client`, `server`: flags of both sides; `silent`: no packet of the server."""
    if udp:
        return CONVERSATION if got else BY_UDP
    if sent and got:
        return CONVERSATION
    if client & SYN:
        if silent and (client & ACK or sent):
            return NO_ROW
        if not sent:
            return BY_BANNER if got else BY_CONNECT if client & ACK else BY_LONE_SYN
    elif not sent and not got:
        if client == FIN:
            return BY_FIN
        if client == 0:
            return BY_NULL
        if client == FIN | PSH | URG:
            return BY_XMAS
        if client == ACK and packets <= 2 and not began and (silent or server & (RST | SYN | FIN) == RST):
            return BY_LONE_ACK
    return NO_ROW


cdef inline uint64_t _certain(int method, int port, uint8_t state, uint8_t client, uint8_t server,
                              uint8_t tool) noexcept nogil:
    """`ScanRows.certain`, and whether a knock was in vain where it is about no port of mail (`port` < 0)."""
    cdef uint64_t fields = 0
    if method == CONVERSATION:
        return CONVERSATIONS if port >= 0 else 0
    if state == REJECTED or BY_FIN <= method <= BY_LONE_ACK and server & RST:
        fields |= REFUSED
    if state == SILENT:
        fields |= UNANSWERED
    if method == BY_LONE_SYN and server & (SYN | ACK) == SYN | ACK and client & RST:
        fields |= HALF_OPEN | ODD
    if BY_FIN <= method <= BY_XMAS:
        fields |= ODD
    return fields | KNOCKS | <uint64_t>1 << (METHOD + method) | <uint64_t>1 << (PORT + port) | (
        <uint64_t>1 << (TOOL + tool))


def knock_rows(ended, const int8_t[::1] codes, const uint64_t[::1] salts, int64_t[::1] found, uint64_t[::1] certain,
               uint64_t[::1] offered, uint64_t[:, ::1] columns):
    """`scan_rows` of observe/scan_rows.py.

    Args:
        ended: `EndedFlows`; `codes`: `PORT_CODE` of observe/knocks.py.
        salts: of `mixed`, shape (4,).
        found, certain, offered: take what `ScanRows` has of these names; `columns` as well, shape (8, n).

    Returns:
        How many rows there are.
    """
    cdef const uint8_t[:] protocol = ended.protocol, state = ended.state, tool = ended.tool
    cdef const uint8_t[:] began = ended.began.view("u1")
    cdef const uint16_t[:] server_port = ended.server_port, client_port = ended.client_port
    cdef const int64_t[:, :] packets = ended.packets, size = ended.bytes
    cdef const uint8_t[:, :] flags = ended.flags
    cdef const uint64_t[:] client_hi = ended.client_hi, client_lo = ended.client_lo
    cdef const uint64_t[:] server_hi = ended.server_hi, server_lo = ended.server_lo, traits = ended.traits
    cdef uint64_t[4] salt = [salts[0], salts[1], salts[2], salts[3]]
    cdef uint64_t fields, offers, host
    cdef int64_t i, count = 0
    cdef int port, method
    with nogil:
        for i in range(protocol.shape[0]):
            port = codes[server_port[i]] if protocol[i] == TCP else -1
            if protocol[i] == UDP and server_port[i] == KNOCK_PORT:
                port = UDP_CODE
            elif port < 0 and not (protocol[i] == TCP and (state[i] == REJECTED or state[i] == SILENT)
                                   and size[i, 0] == 0):
                continue
            method = _method(protocol[i] == UDP, flags[i, 0], flags[i, 1], size[i, 0] > 0, size[i, 1] > 0,
                             packets[i, 0], packets[i, 1] == 0, began[i])
            if method == NO_ROW or packets[i, 0] <= 0:
                continue
            if tool[i] >= TOOLS:
                with gil:
                    raise IndexError("no such tool")
            fields = _certain(method, port, state[i], flags[i, 0], flags[i, 1], tool[i])
            offers = OF_VAIN if fields & (REFUSED | UNANSWERED) else 0
            if port < 0:
                fields = 0
            elif method == CONVERSATION:
                offers |= OF_MAIL | TALKED
            else:
                offers |= OF_MAIL | HOSTS | (FAILED if offers else 0)
            host = _mixed_two(salt, server_hi[i], server_lo[i])
            found[count], certain[count], offered[count] = i, fields, offers
            columns[0, count] = _mixed_two(salt, client_hi[i], client_lo[i])
            columns[1, count] = host
            columns[2, count] = _mixed_two(salt, client_hi[i], _network(client_hi[i], client_lo[i]))
            columns[5, count] = _mixed_two(salt, host, server_port[i])
            columns[3, count] = _stirred(columns[5, count], protocol[i], salt[3])
            columns[4, count] = _stirred(salt[0], traits[i], salt[1])
            columns[6, count], columns[7, count] = server_port[i], client_port[i]
            count += 1
    return count


# The fields of observe/sheet.py and observe/askers.py, as bits.
cdef uint64_t ASKED = 1 << 0, FROM_WAN = 1 << 1, ANSWERED = 1 << 2, ANSWERED_LAN = 1 << 3, ANSWERED_WAN = 1 << 4
cdef uint64_t ASKED_REFUSED = 1 << 5, ASKED_UNANSWERED = 1 << 6, CLIENTS_LAN = 1 << 7, CLIENTS_WAN = 1 << 8
cdef uint64_t NEW_TO_SERVER = 1 << 10 | 1 << 12  # NEW_NETWORK, NEW_STRANGER
cdef uint64_t NEW_ASKING = 1 << 11


def asker_rows(ended, const uint8_t[::1] mail, const uint8_t[:] inside, const uint64_t[::1] salts,
               int64_t[::1] found, uint64_t[::1] certain, uint64_t[::1] offered, uint64_t[:, ::1] columns):
    """`askers` of observe/askers.py.

    Args:
        ended: `EndedFlows`; `mail`: marks the TCP ports of mail; `inside`: of each flow, whether its client is at home.
        salts: of `mixed`, shape (4,).
        found, certain, offered: take what `Askers` has of these names (`found`: `at`); `columns` as well, shape (4, n).

    Returns:
        How many rows there are.
    """
    cdef const uint8_t[:] protocol = ended.protocol, state = ended.state, selected = ended.selected
    cdef const uint16_t[:] port = ended.server_port
    cdef const int64_t[:, :] packets = ended.packets, size = ended.bytes
    cdef const uint8_t[:, :] flags = ended.flags
    cdef const uint64_t[:] client_hi = ended.client_hi, client_lo = ended.client_lo
    cdef const uint64_t[:] server_hi = ended.server_hi, server_lo = ended.server_lo
    cdef uint64_t[4] salt = [salts[0], salts[1], salts[2], salts[3]]
    cdef uint64_t fields, offers
    cdef int64_t i, count = 0
    with nogil:
        for i in range(protocol.shape[0]):
            if not (protocol[i] == TCP and mail[port[i]] or protocol[i] == UDP and port[i] == KNOCK_PORT
                    or selected[i] == WATCHED or selected[i] == FOUND) or packets[i, 0] | packets[i, 1] <= 0:
                continue
            if not (protocol[i] == UDP or (flags[i, 0] | flags[i, 1]) & SYN or size[i, 0] | size[i, 1] > 0):
                continue
            fields, offers = ASKED, 0
            if not inside[i]:
                fields, offers = ASKED | FROM_WAN, NEW_ASKING
            if (flags[i, 1] & (SYN | ACK) == SYN | ACK or size[i, 1] > 0
                    or flags[i, 0] & (SYN | ACK) == SYN | ACK and packets[i, 1] == 0):
                fields |= ANSWERED | (ANSWERED_LAN if inside[i] else ANSWERED_WAN)
                offers |= NEW_TO_SERVER | (CLIENTS_LAN if inside[i] else CLIENTS_WAN)
            elif state[i] == REJECTED or flags[i, 1] & RST:
                fields |= ASKED_REFUSED
            elif state[i] == SILENT:
                fields |= ASKED_UNANSWERED
            found[count], certain[count], offered[count] = i, fields, offers
            columns[1, count] = _mixed_two(salt, client_hi[i], client_lo[i])
            columns[2, count] = _mixed_two(salt, server_hi[i], server_lo[i])
            columns[0, count] = _stirred(columns[2, count], <uint64_t>port[i] << 8 | protocol[i], salt[3])
            columns[3, count] = _mixed_two(salt, client_hi[i], _network(client_hi[i], client_lo[i]))
            count += 1
    return count
