"""Columns of the flow table, row by row: what a batch begins, asks of them and adds to them.

Masks of NumPy are seen as bytes here: that is what they are.
"""

cdef enum:
    FIN = 1
    SYN = 2
    RST = 4
    ACK = 16
    TCP = 6
    BY_SYN = 0  # positions in `ROLES`
    BY_PORT = 1
    BY_LOWER_PORT = 3
    BY_FIRST_PACKET = 4
    COUNTED = 0  # values of `FlowColumns.selected`
    WATCHED = 1
    PEEKED = 3
    WATCHED_TCP = 1  # bits of `FlowBeginner._facts`
    WATCHED_OTHER = 2
    PEEKED_PORT = 4
    PROBED_PORT = 8
    STAR = 0x2A
    SPACE = 0x20
    DOT = 0x2E
    MASSCAN = 1  # positions in `TOOLS`
    ZMAP = 2
    NMAP = 3
    MIRAI = 4
    MSS = 0x0204


cdef inline void _clear_pair(int64_t* pair) noexcept nogil:
    pair[0] = pair[1] = 0


cdef inline void _clear_bytes(uint8_t* pair) noexcept nogil:
    pair[0] = pair[1] = 0


def clear_rows(columns, const int32_t[:] rows):
    """What `FlowColumns.take` clears of rows that were used before."""
    cdef uint16_t[::1] interface = columns.interface
    cdef int64_t[:, ::1] packets = columns.packets, size = columns.bytes, acked = columns.acked
    cdef int64_t[:, ::1] delivered = columns.delivered
    cdef uint32_t[:, ::1] next_seq = columns.next_seq
    cdef uint64_t[::1] traits = columns.traits
    cdef uint8_t[::1] tool = columns.tool, slow = columns.slow.view("u1"), tagged = columns.tagged.view("u1")
    cdef uint8_t[::1] unreachable = columns.unreachable.view("u1")
    cdef uint8_t[:, ::1] flags = columns.flags, spoke = columns.spoke.view("u1"), looked = columns.looked.view("u1")
    cdef uint8_t[:, ::1] known = columns.known.view("u1"), heard = columns.heard.view("u1")
    cdef uint8_t[:, ::1] finished = columns.finished.view("u1")
    cdef int64_t number, row
    with nogil:
        for number in range(rows.shape[0]):
            row = rows[number]
            interface[row] = tool[row] = slow[row] = tagged[row] = unreachable[row] = 0
            traits[row] = next_seq[row, 0] = next_seq[row, 1] = 0
            _clear_pair(&packets[row, 0])
            _clear_pair(&size[row, 0])
            _clear_pair(&acked[row, 0])
            _clear_pair(&delivered[row, 0])
            _clear_bytes(&flags[row, 0])
            _clear_bytes(&spoke[row, 0])
            _clear_bytes(&looked[row, 0])
            _clear_bytes(&known[row, 0])
            _clear_bytes(&heard[row, 0])
            _clear_bytes(&finished[row, 0])


def claim_rows(columns, const int32_t[:] rows, int64_t unknown):
    """What `FlowColumns.take` sets of the rows that it gives away."""
    cdef int32_t[::1] target = columns.target
    cdef uint8_t[::1] live = columns.live.view("u1")
    cdef int64_t[::1] due = columns.due
    cdef int64_t number
    cdef int32_t row
    with nogil:
        for number in range(rows.shape[0]):
            row = rows[number]
            target[row], live[row], due[row] = row, 1, unknown


cdef inline uint8_t _role(bint tcp, uint8_t flags, uint16_t src_port, uint16_t dst_port, uint8_t to_watched,
                          uint8_t from_watched, bint* sender_is_client) noexcept nogil:
    """`FlowBeginner._roles` of one segment: returns how the client is known."""
    if tcp and flags & SYN:
        sender_is_client[0] = not flags & ACK
        return BY_SYN
    if to_watched != from_watched:
        sender_is_client[0] = to_watched != 0
        return BY_PORT
    sender_is_client[0] = not tcp or src_port >= dst_port
    return BY_LOWER_PORT if tcp and src_port != dst_port else BY_FIRST_PACKET


def begin_rows(columns, batch, const int64_t[:] first, const int32_t[:] rows, const uint8_t[::1] end,
               const int64_t[:] alive, int64_t begun, const uint8_t[::1] facts, int64_t[::1] probes):
    """What `FlowBeginner.begin` copies of the first segments of new rows, and finds out of roles and selection.

    Args:
        begun: conversations so far.
        facts: what there is to know of each port (see `FlowBeginner._facts`).
        probes: takes the places in `rows` of those that begin with a SYN to such a port.

    Returns:
        How many rows are watched, and how many are probes.
    """
    cdef const int64_t[:] time_ns = batch.time_ns, from_number = batch.number
    cdef const uint8_t[:] from_protocol = batch.protocol, flags = batch.flags
    cdef const uint32_t[:] tunnel = batch.tunnel, seq = batch.seq
    cdef const uint16_t[:] src_port = batch.src_port, dst_port = batch.dst_port
    cdef uint8_t[::1] protocol = columns.protocol, roles = columns.roles, began = columns.began.view("u1")
    cdef uint8_t[::1] client_end = columns.client_end, selected = columns.selected
    cdef uint32_t[::1] path = columns.path, first_seq = columns.first_seq
    cdef int32_t[::1] source = columns.source
    cdef int64_t[::1] serial = columns.serial, first_ns = columns.first_ns, last_ns = columns.last_ns
    cdef int64_t[::1] last_clock = columns.last_clock, first_number = columns.first_number
    cdef int64_t number, at, row, watched = 0, count = 0
    cdef int32_t index = batch.source.index
    cdef bint tcp, by_client = False
    cdef uint8_t to, back, watched_by, role
    with nogil:
        for number in range(rows.shape[0]):
            row, at = rows[number], first[number]
            protocol[row], path[row], source[row], serial[row] = from_protocol[at], tunnel[at], index, begun + number
            first_ns[row] = last_ns[row] = time_ns[at]
            last_clock[row], first_number[row], first_seq[row] = alive[at], from_number[at], seq[at]
            tcp = from_protocol[at] == TCP
            to, back, watched_by = facts[dst_port[at]], facts[src_port[at]], WATCHED_TCP if tcp else WATCHED_OTHER
            role = _role(tcp, flags[at], src_port[at], dst_port[at], to & watched_by, back & watched_by, &by_client)
            roles[row], began[row] = role, role == BY_SYN or not tcp
            client_end[row] = end[at] if by_client else 1 - end[at]
            if (to if by_client else back) & watched_by:
                selected[row] = WATCHED
                watched += 1
            else:
                selected[row] = PEEKED if tcp and (to if by_client else back) & PEEKED_PORT else COUNTED
            if tcp and flags[at] & (SYN | ACK) == SYN and to & PROBED_PORT:
                probes[count] = number
                count += 1
    return watched, count


cdef inline uint16_t _big16(const uint8_t[:] data, int64_t at) except? 0 nogil:
    return <uint16_t>data[at] << 8 | data[at + 1]


cdef inline uint8_t _tool(uint64_t target, bint v4, uint32_t seq, uint16_t port, uint16_t window, uint16_t identification,
                          bint only_1460) noexcept nogil:
    """`tool_marks` of one SYN."""
    if v4 and window == 1_024 and identification == <uint16_t>(target ^ port ^ seq):
        return MASSCAN
    if v4 and window == 65_535 and identification == 54_321:
        return ZMAP
    if v4 and seq == <uint32_t>target:
        return MIRAI
    return NMAP if only_1460 and window in (1_024, 2_048, 3_072, 4_096) else 0


cdef inline uint64_t _traits(uint8_t tool, uint16_t window, uint64_t segment, uint8_t ttl, bint whole) noexcept nogil:
    """`hand_made` of one SYN that offers nothing but its segment size, if that."""
    cdef uint64_t began = 0 if ttl <= 32 else 1 if ttl <= 64 else 2 if ttl <= 128 else 3
    if tool == NMAP or tool == MIRAI:
        window = 0
    return window | segment << 16 | <uint64_t>tool << 32 | began << 40 | <uint64_t>whole << 44 | <uint64_t>1 << 48


def find_tools(columns, batch, const int64_t[:] first, const int32_t[:] rows, const int64_t[:] probes):
    """`tool_marks` and `hand_made` for `FlowBeginner._find_tools`.

    Args:
        rows, first: new rows and the positions of their first segments; `probes`: the places in them to look at.
    """
    cdef const uint8_t[:] data = batch.buffer, ttl = batch.ttl
    cdef const uint16_t[:] dst_port = batch.dst_port, window = batch.window
    cdef const uint64_t[:] dst_hi = batch.dst_hi, dst_lo = batch.dst_lo
    cdef const uint32_t[:] seq = batch.seq
    cdef const int64_t[:] ip_offset = batch.ip_offset, transport_offset = batch.transport_offset
    cdef uint8_t[::1] tools = columns.tool
    cdef uint64_t[::1] traits = columns.traits
    cdef int64_t number, at, row, ip, tcp, last = data.shape[0] - 24
    cdef uint8_t header
    cdef uint16_t segment
    cdef bint sized
    with nogil:
        for number in range(probes.shape[0]):
            at, row = first[probes[number]], rows[probes[number]]
            tools[row], traits[row] = 0, 0
            if last < 0:
                continue
            ip, tcp = min(max(ip_offset[at], 0), last), min(max(transport_offset[at], 0), last)
            header = data[tcp + 12] >> 4 << 2
            sized, segment = header == 24 and _big16(data, tcp + 20) == MSS, _big16(data, tcp + 22)
            tools[row] = _tool(dst_lo[at], dst_hi[at] == 0 and dst_lo[at] >> 32 == 0xFFFF, seq[at], dst_port[at],
                               window[at], _big16(data, ip + 4), sized and segment == 1_460)
            sized = sized and transport_offset[at] <= last
            header = data[transport_offset[at] + 12] >> 4 << 2
            if header == 20 or sized:
                traits[row] = _traits(tools[row], window[at], segment if sized else 0, ttl[at],
                                      data[ip_offset[at]] >> 4 == 4 and data[ip_offset[at] + 6] & 0x40)


def wanted_segments(columns, const int32_t[:] rows, const int64_t[::1] local, const uint8_t[::1] side,
                    int64_t peek_bytes, uint8_t[::1] chosen, int64_t[::1] found):
    """The segments whose bytes `FlowTable._select` wants.

    Args:
        local, side: the group of each segment, and which end of its key sent it.
        peek_bytes: bytes of a side of a peeked flow that are wanted.
        chosen: takes the marks of cells; `found`: takes the positions.

    Returns:
        How many there are.
    """
    cdef const uint8_t[::1] selected = columns.selected
    cdef const int64_t[:, ::1] delivered = columns.delivered
    cdef int64_t group, row, position, count = 0
    cdef bint some = False
    cdef int end
    with nogil:
        for group in range(rows.shape[0]):
            row = rows[group]
            for end in range(2):
                chosen[2 * group + end] = selected[row] != COUNTED and (
                    selected[row] != PEEKED or delivered[row, end] < peek_bytes)
                some = some or chosen[2 * group + end]
        if some:
            for position in range(local.shape[0]):
                found[count] = position
                count += chosen[2 * local[position] + side[position]]
    return count


def count_rows(columns, batch, const Sums[:, ::1] sums, const int64_t[:] newest, const int32_t[:] rows,
               const int64_t[:] alive, int64_t unknown):
    """`count_batch`: adds the sums of a batch to the columns of its rows.

    Args:
        newest: of the stamps of each row; empty where stamps are in order, which makes them the last ones.
    """
    cdef const int64_t[:] time_ns = batch.time_ns, length = batch.length, from_number = batch.number
    cdef const uint32_t[:] seq = batch.seq
    cdef const uint8_t[::1] selected = columns.selected
    cdef int64_t[:, ::1] all_packets = columns.packets, all_bytes = columns.bytes
    cdef uint32_t[:, ::1] isn = columns.isn, fin_end = columns.fin_end
    cdef uint8_t[:, ::1] flags = columns.flags, spoke = columns.spoke.view("u1"), heard = columns.heard.view("u1")
    cdef uint8_t[:, ::1] finished = columns.finished.view("u1")
    cdef int64_t[::1] due = columns.due, last_clock = columns.last_clock, last_ns = columns.last_ns
    cdef int64_t[::1] last_number = columns.last_number
    cdef const Sums* cells
    cdef int64_t* of_packets
    cdef int64_t* of_bytes
    cdef uint8_t* of_flags
    cdef uint8_t* has_spoken
    cdef int64_t group, row, at
    cdef bint followed
    cdef int end
    if sums.shape[1] != 2 or all_packets.shape[1] != 2:
        raise ValueError("sums of another kind")
    with nogil:
        for group in range(rows.shape[0]):
            if group + AHEAD < rows.shape[0]:
                at = max(sums[group + AHEAD, 0].last, sums[group + AHEAD, 1].last)
                prefetch(&alive[at])
                prefetch(&from_number[at])
                at = max(sums[group + AHEAD, 0].syn, 0)
                prefetch(&seq[at])
            row, cells = rows[group], &sums[group, 0]  # both ends of it
            of_packets, of_bytes, of_flags = &all_packets[row, 0], &all_bytes[row, 0], &flags[row, 0]
            has_spoken = &spoke[row, 0]
            followed = selected[row] != COUNTED
            for end in range(2):
                if followed:
                    heard[row, end], finished[row, end] = of_packets[end] > 0, of_flags[end] & FIN
                    at = cells[end].fin
                    if at >= 0 and not of_flags[end] & FIN:
                        fin_end[row, end] = seq[at] + <uint32_t>length[at]
                at = cells[end].syn
                if at >= 0 and not of_flags[end] & SYN:
                    isn[row, end] = seq[at]
                of_packets[end] += cells[end].packets
                of_bytes[end] += cells[end].size
                has_spoken[end] |= cells[end].size > 0
                of_flags[end] |= cells[end].flags
            at = max(cells[0].last, cells[1].last)
            due[row], last_clock[row], last_number[row] = unknown, alive[at], from_number[at]
            last_ns[row] = max(last_ns[row], newest[group] if newest.shape[0] else time_ns[at])


def mark_tags(columns, const int32_t[:] rows, const uint64_t[::1] bare, int64_t[::1] found):
    """`VlanJoiner._note_tags`: marks rows whose encapsulation holds VLAN tags.

    Args:
        bare: for each encapsulation the one without tags; `found`: takes the places in `rows` of the marked ones.

    Returns:
        How many there are.
    """
    cdef const uint32_t[::1] path = columns.path
    cdef uint8_t[::1] tagged = columns.tagged.view("u1")
    cdef int64_t number, row, count = 0
    with nogil:
        for number in range(rows.shape[0]):
            row = rows[number]
            tagged[row] = bare[path[row]] != path[row]
            if tagged[row]:
                found[count] = number
                count += 1
    return count


def doubtful_rows(columns, batch, const Sums[:, :] sums, const int32_t[:] rows, const int64_t[:] first, const int64_t[:] clock,
                  int64_t shortest, uint8_t[::1] doubtful, int64_t[::1] quiet):
    """What `ReuseSplitter._suspects` asks of rows: which are over, or saw another SYN.

    Args:
        doubtful: takes the marks.
        quiet: takes the groups after so long a pause that they may be over.

    Returns:
        How many are quiet.
    """
    cdef const uint8_t[::1] live = columns.live.view("u1")
    cdef const int64_t[::1] last_clock = columns.last_clock
    cdef const uint8_t[:, ::1] flags = columns.flags
    cdef const uint32_t[:, ::1] isn = columns.isn
    cdef const uint32_t[:] seq = batch.seq
    cdef int64_t group, row, at, count = 0
    cdef int end
    with nogil:
        for group in range(rows.shape[0]):
            row = rows[group]
            doubtful[group] = not live[row]
            if <int64_t>(<uint64_t>clock[first[group]] - <uint64_t>last_clock[row]) >= shortest:  # wraps as NumPy does
                quiet[count] = group
                count += 1
            for end in range(2):
                at = sums[group, end].syn
                if at >= 0 and (sums[group, end].differs or (flags[row, end] & SYN and isn[row, end] != seq[at])):
                    doubtful[group] = 1
    return count


cdef inline bint _may_start(uint8_t lead) noexcept nogil:
    return (lead | 0x20) >= 0x61 and (lead | 0x20) <= 0x7A or lead >= 0x30 and lead <= 0x39 or lead == DOT or lead == STAR


def likely_openings(columns, batch, const Sums[:, :] sums, const int32_t[:] rows, int64_t[::1] found):
    """Looks at the first bytes of each side, as `find_dialogues` does.

    Args:
        found: takes the positions of segments that may begin with a line of IMAP, in no order; 2 for each row at most.

    Returns:
        How many there are.
    """
    cdef const uint8_t[::1] selected = columns.selected, protocol = columns.protocol, roles = columns.roles
    cdef const uint8_t[:] client_end = columns.client_end, began = columns.began.view("u1"), data = batch.buffer
    cdef uint8_t[:, ::1] looked = columns.looked.view("u1")
    cdef const int64_t[:] payload = batch.payload
    cdef int64_t group, row, at, count = 0
    cdef int end
    with nogil:
        for group in range(rows.shape[0]):
            for end in range(2):
                if group + 2 * AHEAD < rows.shape[0] and sums[group + 2 * AHEAD, end].told >= 0:
                    prefetch(&payload[sums[group + 2 * AHEAD, end].told])
                if group + AHEAD < rows.shape[0] and sums[group + AHEAD, end].told >= 0:
                    prefetch(&data[payload[sums[group + AHEAD, end].told]])
            row = rows[group]
            if protocol[row] != TCP or (selected[row] != COUNTED and selected[row] != PEEKED):
                continue
            for end in range(2):
                at = sums[group, end].told
                if at < 0 or looked[row, end] or (roles[row] == BY_SYN and client_end[row] == end):
                    continue
                looked[row, end] = 1
                if (data[payload[at]] == STAR and data[payload[at] + 1] == SPACE) or (
                        not began[row] and _may_start(data[payload[at]])):
                    found[count] = at
                    count += 1
    return count
