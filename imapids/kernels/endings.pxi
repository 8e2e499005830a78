"""Rows of the flow table that are over: when, and what is told of them."""

cdef enum:
    WAS_OPEN = 0  # positions in `STATES`
    WAS_CLOSED = 1
    WAS_REJECTED = 2
    WAS_SILENT = 3

cdef struct Timeouts:
    int64_t udp
    int64_t closed
    int64_t half_open
    int64_t idle
    int64_t tick


cdef inline bint _closed(uint8_t one, uint8_t other) noexcept nogil:
    return (one | other) & RST or one & other & FIN


cdef inline int64_t _deadline(bint tcp, const uint8_t* flags, const int64_t* packets, const uint8_t* spoke,
                              int64_t last_clock, const Timeouts* timeouts) noexcept nogil:
    """`deadlines` of one conversation: `flags`, `packets` and `spoke` of both its ends."""
    cdef int64_t over, rest
    if not tcp:
        over = timeouts.udp
    elif _closed(flags[0], flags[1]):
        over = timeouts.closed
    elif (packets[0] == 0 or packets[1] == 0) and (flags[0] | flags[1]) & SYN and not (spoke[0] | spoke[1]):
        over = timeouts.half_open
    else:
        over = timeouts.idle
    over = <int64_t>(<uint64_t>over + <uint64_t>last_clock)  # wraps as NumPy does
    rest = over % timeouts.tick
    return <int64_t>(<uint64_t>over + <uint64_t>(timeouts.tick if rest > 0 else 0) - <uint64_t>rest)


def row_deadlines(columns, const int32_t[:] rows, tuple timeouts, int64_t[::1] due):
    """`deadlines`; `due` takes them.

    Args:
        timeouts: of UDP, and of TCP that is closed, half open, or neither; the length of a tick.
    """
    cdef const uint8_t[:, ::1] flags = columns.flags, spoke = columns.spoke.view("u1")
    cdef const int64_t[:, ::1] packets = columns.packets
    cdef const int64_t[::1] last_clock = columns.last_clock
    cdef const uint8_t[::1] protocol = columns.protocol
    cdef Timeouts limits
    cdef int64_t number, row
    limits.udp, limits.closed, limits.half_open, limits.idle, limits.tick = timeouts
    with nogil:
        for number in range(rows.shape[0]):
            row = rows[number]
            due[number] = _deadline(protocol[row] == TCP, &flags[row, 0], &packets[row, 0], &spoke[row, 0],
                                    last_clock[row], &limits)


def overdue_rows(columns, int64_t clock, int64_t shortest, tuple timeouts, int32_t[::1] rows, int64_t[::1] over):
    """`overdue`: finds out until when rows wait that may be over, and writes it down.

    Args:
        clock: the time now; `shortest`: how long a row was quiet at least that is over; `timeouts`: see `row_deadlines`.
        rows, over: take those that are over, and since when; as long as the rows that are used.

    Returns:
        How many there are.
    """
    cdef const uint8_t[:, ::1] flags = columns.flags, spoke = columns.spoke.view("u1")
    cdef const int64_t[:, ::1] packets = columns.packets
    cdef const int64_t[::1] last_clock = columns.last_clock
    cdef const uint8_t[::1] protocol = columns.protocol
    cdef int64_t[::1] due = columns.due
    cdef Timeouts limits
    cdef int64_t row, count = 0
    limits.udp, limits.closed, limits.half_open, limits.idle, limits.tick = timeouts
    with nogil:
        for row in range(rows.shape[0]):
            if due[row] > clock or last_clock[row] > clock - shortest:
                continue
            due[row] = _deadline(protocol[row] == TCP, &flags[row, 0], &packets[row, 0], &spoke[row, 0],
                                 last_clock[row], &limits)
            if due[row] <= clock:
                rows[count], over[count] = <int32_t>row, due[row]
                count += 1
    return count


def close_rows(columns, const int32_t[:] rows, int64_t never, int64_t[::1] followed):
    """Takes rows out of service, as `FlowEnder.over` does.

    Args:
        followed: takes the places in `rows` of those whose bytes are delivered.

    Returns:
        How many these are.
    """
    cdef uint8_t[::1] live = columns.live.view("u1")
    cdef int64_t[::1] due = columns.due
    cdef const uint8_t[::1] selected = columns.selected
    cdef int64_t number, row, count = 0
    with nogil:
        for number in range(rows.shape[0]):
            row = rows[number]
            live[row], due[row] = 0, never
            if selected[row] != COUNTED:
                followed[count] = number
                count += 1
    return count


def matter_rows(columns, const int32_t[:] rows, const uint8_t[::1] mail, int64_t[::1] found):
    """What `EndedFlowsGatherer._matter` finds of rows that are over.

    Args:
        mail: a bit for each port of mail, the lowest first; `found`: takes the positions.

    Returns:
        How many there are.
    """
    cdef const uint64_t[:, ::1] keys = columns.keys
    cdef const int64_t[:, ::1] size = columns.bytes
    cdef const uint8_t[::1] protocol = columns.protocol, selected = columns.selected
    cdef uint64_t source, target
    cdef int64_t number, row, count = 0
    with nogil:
        for number in range(rows.shape[0]):
            row = rows[number]
            source, target = keys[row, 4] >> 48, keys[row, 4] >> 32 & 0xFFFF
            if (selected[row] != COUNTED or (mail[source >> 3] >> (source & 7) | mail[target >> 3] >> (target & 7)) & 1
                    or (protocol[row] == TCP and size[row, 0] + size[row, 1] == 0)):
                found[count] = number
                count += 1
    return count


def turn_rows(const uint64_t[:, :] keys, const uint8_t[:] client_end, const uint8_t[:] protocol,
              const int64_t[:, :] packets, const int64_t[:, :] size, const uint8_t[:, :] flags,
              const uint8_t[:] unreachable, uint64_t[:, ::1] addresses, uint16_t[:, ::1] ports,
              int64_t[:, ::1] packets_of, int64_t[:, ::1] size_of, uint8_t[:, ::1] flags_of, uint8_t[::1] states):
    """What `EndedFlowsGatherer.ended` tells of rows, the client first; their columns are by end of the key.

    Args:
        addresses: takes client hi, lo, server hi, lo, shape (4, rows); `ports`: client, server, shape (2, rows).
        packets_of, size_of, flags_of: take these, shape (rows, 2); `states`: see `states_of`.
    """
    cdef int64_t row
    cdef int client, server
    cdef uint64_t rest
    cdef bint refused
    with nogil:
        for row in range(states.shape[0]):
            client = client_end[row] == 1
            server, rest = 1 - client, keys[row, 4]
            addresses[0, row], addresses[1, row] = keys[row, 2 * client], keys[row, 2 * client + 1]
            addresses[2, row], addresses[3, row] = keys[row, 2 * server], keys[row, 2 * server + 1]
            ports[client, row], ports[server, row] = <uint16_t>(rest >> 48), <uint16_t>(rest >> 32)
            packets_of[row, 0], packets_of[row, 1] = packets[row, client], packets[row, server]
            size_of[row, 0], size_of[row, 1] = size[row, client], size[row, server]
            flags_of[row, 0], flags_of[row, 1] = flags[row, client], flags[row, server]
            refused = (protocol[row] == TCP and flags[row, server] & (RST | SYN) == RST and size[row, server] == 0
                       and flags[row, client] & SYN)
            if refused or (unreachable[row] and packets[row, server] == 0):
                states[row] = WAS_REJECTED
            elif packets[row, server] == 0 and size[row, client] == 0:
                states[row] = WAS_SILENT
            else:
                states[row] = WAS_CLOSED if (flags[row, 0] | flags[row, 1]) & (FIN | RST) else WAS_OPEN
