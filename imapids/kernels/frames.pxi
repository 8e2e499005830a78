"""Frames to segments: the plain majority, header by header."""

cimport cython

cdef enum:
    TYPE_IPV4 = 0x0800
    TYPE_IPV6 = 0x86DD
    TYPE_VLAN = 0x8100
    PROTOCOL_TCP = 6
    PROTOCOL_UDP = 17
    NO_NEXT_HEADER = 59
    FRAGMENT_BITS = 0x3FFF
    READ_V4 = 20 + 16
    READ_V6 = 40 + 16
    # Bytes that are read of a packet: the IP header, and 16 behind it.
    READ_ETHERNET = 14 + 4
    # Addresses and type, and a tag with the type behind it.

cdef uint64_t MAPPED_V4 = 0x0000_FFFF_0000_0000
# `records.segments.V4_PREFIX`


cdef struct Packet:
    # Where things stand counts in the buffer; `end` and `wire` are those of `decode.columns.Rows`.
    int64_t ip
    int64_t transport
    int64_t end
    int64_t wire
    int64_t path
    int64_t length  # announced bytes from the transport header on
    int64_t header  # bytes of the transport header
    uint8_t protocol
    uint8_t ttl
    bint six


cdef inline uint32_t _net16(const uint8_t* byte) noexcept nogil:
    return <uint32_t>byte[0] << 8 | byte[1]


cdef inline uint32_t _net32(const uint8_t* byte) noexcept nogil:
    return <uint32_t>byte[0] << 24 | <uint32_t>byte[1] << 16 | <uint32_t>byte[2] << 8 | byte[3]


cdef inline uint64_t _net64(const uint8_t* byte) noexcept nogil:
    return <uint64_t>_net32(byte) << 32 | _net32(byte + 4)


cdef inline bint _is_framed(const uint8_t* data, int64_t size, Packet* packet, const int64_t[::1] tags) except -1 nogil:
    """Whether an Ethernet frame at `ip` holds IP, behind one known 802.1Q tag at most: then `ip` and `path` are moved on.

    `data` holds `size` bytes; `tags` are the paths of single tags, negative where not known yet.
    """
    cdef int64_t at = packet.ip, known
    cdef uint32_t kind
    if packet.end - at < 14 or at + READ_ETHERNET > size:
        return False
    kind = _net16(data + at + 12)
    packet.ip = at + 14
    if kind == TYPE_VLAN:
        if packet.end - at < 18 or packet.path != 0:
            return False
        known = tags[_net16(data + at + 14) & 0xFFF]
        if known < 0:
            return False
        kind = _net16(data + at + 16)
        packet.ip, packet.path = at + 18, known
    return kind == TYPE_IPV4 or kind == TYPE_IPV6


cdef inline bint _is_plain_ip(const uint8_t* data, int64_t size, Packet* packet) noexcept nogil:
    """Whether an IP packet at `ip` has no options, no extension headers, is no fragment, and fits the frame.

    Where it does, 16 bytes behind its header may be read.
    """
    cdef int64_t at = packet.ip
    cdef const uint8_t* head = data + at
    if at + READ_V4 > size:
        return False
    packet.six = head[0] >> 4 == 6
    if packet.six:
        if at + READ_V6 > size or packet.end - at < 40:
            return False
        packet.transport, packet.length = at + 40, _net16(head + 4)
        packet.protocol, packet.ttl = head[6], head[7]
    else:
        if head[0] != 0x45 or _net16(head + 6) & FRAGMENT_BITS:
            return False
        packet.transport, packet.length = at + 20, <int64_t>_net16(head + 2) - 20
        packet.ttl, packet.protocol = head[8], head[9]
    return packet.length <= packet.wire - packet.transport


cdef inline bint _is_plain_transport(const uint8_t* data, Packet* packet) noexcept nogil:
    """Whether a TCP or UDP header stands whole behind a plain IP header; `header` and `length` are then known."""
    cdef const uint8_t* head = data + packet.transport
    cdef int64_t room = packet.end - packet.transport, told
    if packet.protocol == PROTOCOL_TCP:
        packet.header = head[12] >> 4 << 2
        return room >= 20 and packet.header >= 20 and packet.header <= packet.length
    if packet.protocol != PROTOCOL_UDP or room < 8:
        return False
    packet.header, told = 8, _net16(head + 4)
    if told < 8 or told > packet.length:
        return False
    packet.length = told
    return True


cdef inline bint _is_suspect(const uint8_t* head, int64_t length, const uint8_t[::1] named, const uint8_t[::1] to,
                             const uint8_t[::1] answering, const uint8_t[::1] plain, const uint32_t[::1] masks,
                             const uint32_t[::1] values) except -1 nogil:
    """`TunnelPorts.suspects` for the datagram of so many bytes at `head`."""
    cdef uint32_t source = _net16(head), destination = _net16(head + 2), first = _net32(head + 8), behind
    cdef uint8_t service
    if first >> 28 != 6 and not (
            (named[source >> 3] >> (source & 7) | named[destination >> 3] >> (destination & 7)) & 1):
        return False
    service = to[destination]
    if service == 0:
        service = answering[source]
    cdef bint found = service != 0 and first & masks[service] == values[service]
    if first >> 28 == 6:
        behind = _net16(head + 12)
        found = found or behind + 48 == length and (behind >= 8 or head[14] == NO_NEXT_HEADER)
    return found and not (plain[source] or plain[destination])


cdef class Columns:
    """`SegmentColumns.columns` as a kernel writes them: one place for each row of the packet batch."""

    cdef uint8_t[::1] present, protocol, flags, ttl
    cdef uint16_t[::1] src_port, dst_port, window
    cdef uint32_t[::1] tunnel, seq, ack
    cdef uint64_t[::1] src_hi, src_lo, dst_hi, dst_lo
    cdef int64_t[::1] payload, captured, length, ip_offset, transport_offset

    def __init__(self, present, columns):
        self.present = present
        self.protocol, self.flags, self.ttl = columns["protocol"], columns["flags"], columns["ttl"]
        self.src_port, self.dst_port, self.window = columns["src_port"], columns["dst_port"], columns["window"]
        self.tunnel, self.seq, self.ack = columns["tunnel"], columns["seq"], columns["ack"]
        self.src_hi, self.src_lo = columns["src_hi"], columns["src_lo"]
        self.dst_hi, self.dst_lo = columns["dst_hi"], columns["dst_lo"]
        self.payload, self.captured, self.length = columns["payload"], columns["captured"], columns["length"]
        self.ip_offset, self.transport_offset = columns["ip_offset"], columns["transport_offset"]
        if {len(column) for column in columns.values()} != {len(present)}:
            raise ValueError("the columns differ in length")

    @cython.boundscheck(False)
    cdef void put(self, Py_ssize_t row, const uint8_t* data, const Packet* packet, int64_t base) noexcept nogil:
        """Write a plain packet; `base` is added to offsets. One check of the row stands for the 19 columns."""
        if row < 0 or row >= self.present.shape[0]:
            return
        cdef const uint8_t* ip = data + packet.ip
        cdef const uint8_t* head = data + packet.transport
        cdef int64_t payload = packet.transport + packet.header
        self.present[row], self.protocol[row], self.ttl[row] = True, packet.protocol, packet.ttl
        self.tunnel[row] = packet.path
        self.ip_offset[row], self.transport_offset[row] = packet.ip + base, packet.transport + base
        self.length[row] = packet.length - packet.header
        self.payload[row] = min(payload, packet.end) + base
        self.captured[row] = max(min(packet.end - payload, packet.length - packet.header), 0)
        if packet.six:
            self.src_hi[row], self.src_lo[row] = _net64(ip + 8), _net64(ip + 16)
            self.dst_hi[row], self.dst_lo[row] = _net64(ip + 24), _net64(ip + 32)
        else:
            self.src_hi[row], self.dst_hi[row] = 0, 0
            self.src_lo[row], self.dst_lo[row] = MAPPED_V4 | _net32(ip + 12), MAPPED_V4 | _net32(ip + 16)
        self.src_port[row], self.dst_port[row] = _net16(head), _net16(head + 2)
        if packet.protocol == PROTOCOL_TCP:
            self.seq[row], self.ack[row] = _net32(head + 4), _net32(head + 8)
            self.flags[row], self.window[row] = head[13] & 0x3F, _net16(head + 14)
        else:
            self.seq[row], self.ack[row], self.flags[row], self.window[row] = 0, 0, 0, 0


def take_plain(const uint8_t[::1] data, const int64_t[::1] row, const int64_t[::1] at, const int64_t[::1] end,
               const int64_t[::1] wire, const int64_t[::1] path, bint framed, const int64_t[::1] tags, named, to,
               answering, plain, masks, values, uint8_t[::1] present, dict columns, int64_t base, int64_t[::1] left):
    """What `decode_plain` does, and before it `decode_ethernet` where the rows are `framed`, for all plain packets.

    Args:
        row, at, end, wire, path: `decode.columns.Rows` of packets in `data`.
        tags: `Paths.outermost`. `named, to, answering, plain, masks, values`: `TunnelPorts.tables`.
        present, columns: of `SegmentColumns`; `base` is added to offsets.
        left: takes the indices of the rows that are not plain, as far as they are seen to be.

    Returns:
        How many are left.
    """
    cdef const uint8_t[::1] named_ = named, to_ = to, answering_ = answering, plain_ = plain
    cdef const uint32_t[::1] masks_ = masks, values_ = values
    cdef Columns out = Columns(present, columns)
    cdef const uint8_t* bytes = &data[0] if data.shape[0] else NULL
    cdef int64_t size = data.shape[0], rest = 0
    cdef Py_ssize_t index, count = row.shape[0]
    cdef Packet packet
    with nogil:
        for index in range(count):
            if index + AHEAD_ROWS < count:
                _soon(bytes, at[index + AHEAD_ROWS])
                _soon(bytes, at[index + AHEAD_ROWS] + LINE_BYTES)
            packet.ip, packet.end, packet.wire, packet.path = at[index], end[index], wire[index], path[index]
            if (packet.ip >= 0 and (not framed or _is_framed(bytes, size, &packet, tags))
                    and _is_plain_ip(bytes, size, &packet) and _is_plain_transport(bytes, &packet)
                    and (packet.protocol == PROTOCOL_TCP
                         or not _is_suspect(bytes + packet.transport, packet.length, named_, to_, answering_, plain_,
                                            masks_, values_))):
                out.put(row[index], bytes, &packet, base)
            else:
                left[rest] = index
                rest += 1
    return rest
