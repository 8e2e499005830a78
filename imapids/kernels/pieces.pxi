"""Segments of selected conversations to ordered runs of bytes."""


def sort_pieces(const int64_t[::1] local, const int64_t[::1] positions, int64_t[::1] places, int64_t[::1] at,
                int64_t[::1] flow, int64_t[::1] groups):
    """Sorts the segments at some positions by conversation, in the order of the capture inside each.

    Args:
        local: the group of each segment of the batch; `positions`: ascending.
        places: zeros, one for each group; they are used up.
        at, flow: take the sorted positions, and the number of the conversation of each.
        groups: takes the group of each conversation; as long as `places`.

    Returns:
        How many conversations there are.
    """
    cdef int64_t count = positions.shape[0], i, group, flows = 0, before = 0, size
    with nogil:
        for i in range(count):
            places[local[positions[i]]] += 1
        for group in range(places.shape[0]):
            size = places[group]
            if size:
                groups[flows] = group
                for i in range(before, before + size):
                    flow[i] = flows
                places[group] = before
                before += size
                flows += 1
        for i in range(count):
            group = local[positions[i]]
            at[places[group]] = positions[i]
            places[group] += 1
    return flows


cdef enum:
    _FIN = 1
    _SYN = 2
    _RST = 4
    _ACK = 16
    _URG = 32


cdef int _learn(const int64_t[::1] cell, const uint8_t[::1] flags, const uint32_t[::1] seq, const uint32_t[::1] ack,
                const uint8_t[::1] tcp, uint8_t[::1] known, uint32_t[::1] next_seq) except -1 nogil:
    """`Assembler._learn_starts`: the first segment that tells where a side's stream begins."""
    cdef int64_t i, own
    for i in range(cell.shape[0]):
        if not tcp[i] or flags[i] & _RST:
            continue
        own = cell[i]
        if not known[own]:
            known[own] = 1
            next_seq[own] = seq[i] + (1 if flags[i] & _SYN else 0)
        if flags[i] & _ACK and not known[own ^ 1]:
            known[own ^ 1] = 1
            next_seq[own ^ 1] = ack[i]
    return 0


cdef int _doubt(const int64_t[::1] cell, const uint8_t[::1] flags, const uint32_t[::1] seq, const uint32_t[::1] ack,
                const uint8_t[::1] tcp, const uint8_t[::1] known, const uint32_t[::1] next_seq,
                const int64_t[::1] delivered, uint8_t[::1] slow) except -1 nogil:
    """`Assembler._check_handshakes`: SYNs that do not fit what is known."""
    cdef int64_t i, own, peer
    for i in range(cell.shape[0]):
        if not tcp[i] or not flags[i] & _SYN:
            continue
        own, peer = cell[i], cell[i] ^ 1
        if <uint32_t>(seq[i] + 1) != next_seq[own] and delivered[own] == 0:
            slow[own >> 1] = 1
        if flags[i] & _ACK and known[peer] and ack[i] != next_seq[peer] and delivered[peer] == 0:
            slow[peer >> 1] = 1
    return 0


def check_pieces(const int64_t[::1] cell, const int64_t[::1] length, const int64_t[::1] captured,
                 const uint8_t[::1] flags, const uint32_t[::1] seq, const uint32_t[::1] ack, const uint8_t[::1] tcp,
                 uint8_t[::1] known, uint32_t[::1] next_seq, const int64_t[::1] delivered, uint8_t[::1] slow,
                 uint32_t[::1] expected, int64_t[::1] reached, int64_t[::1] offset):
    """Which conversations are not in order: `Assembler._learn_starts`, `_check_handshakes` and `_check_order`.

    Args:
        cell: twice the conversation's number, and the end that sent it, of each segment (so are the next six); the
            segments are sorted by conversation.
        known, next_seq, delivered: of each cell, before the batch; starts that are learned are written.
        slow: of each conversation; those that are not in order are marked.
        expected, reached: take the next sequence number and the stream offset of each cell; those of conversations that
            are not in order stay where they were.
        offset: takes the stream offset of each segment that has payload or ends a stream.
    """
    cdef int64_t i, own, size
    cdef bint wrong
    with nogil:
        _learn(cell, flags, seq, ack, tcp, known, next_seq)
        _doubt(cell, flags, seq, ack, tcp, known, next_seq, delivered, slow)
        expected[:] = next_seq
        reached[:] = delivered
        for i in range(cell.shape[0]):
            size = length[i]
            if size <= 0 and not flags[i] & _FIN:
                continue
            own = cell[i]
            wrong = captured[i] < size
            if tcp[i]:
                wrong = (wrong or not known[own] or seq[i] != expected[own]
                         or (size > 0 and flags[i] & (_URG | _SYN | _RST)))
            if wrong:
                slow[own >> 1] = 1
            offset[i] = reached[own]
            reached[own] += size
            expected[own] = seq[i] + <uint32_t>size
        for own in range(known.shape[0]):
            if slow[own >> 1]:
                expected[own], reached[own] = next_seq[own], delivered[own]
