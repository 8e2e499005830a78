"""Segments of selected conversations to ordered runs of bytes."""

cdef enum:
    _URG = 32
    IS_CLOSED = 1  # values of `Ordered.closed`
    IS_QUIET = 2

cdef struct Piece:
    # An element of `PIECE` (imapids/flows/ordering.py): what is asked of a segment, of which all is read at once.
    int64_t at
    int64_t length
    int64_t offset
    uint32_t seq
    uint32_t ack
    uint8_t flags
    uint8_t end
    uint8_t tcp
    uint8_t cut

cdef struct Side:
    # One direction of a conversation: `next_seq` and `delivered` as they were before the batch, or as it tells first.
    int64_t delivered
    int64_t reached
    int64_t sent
    int64_t acked
    uint32_t next_seq
    uint32_t expected
    uint8_t known


def sort_pieces(batch, const int64_t[::1] local, const uint8_t[::1] end, const int64_t[::1] positions,
                int64_t[::1] places, int64_t[::1] first, int64_t[::1] groups, Piece[::1] pieces):
    """Sorts the segments at some positions by conversation, in the order of the capture inside each.

    Args:
        local, end: the group of each segment of the batch, and which end of its key sent it; `positions`: ascending.
        places: zeros, one for each group; they are used up.
        first: takes the place of each conversation's first piece, and behind them the number of pieces: one more than
            there are groups; `groups`: takes the group of each conversation.
        pieces: takes the segments, sorted.

    Returns:
        How many conversations there are.
    """
    cdef const int64_t[:] length = batch.length, captured = batch.captured
    cdef const uint32_t[:] seq = batch.seq, ack = batch.ack
    cdef const uint8_t[:] flags = batch.flags, protocol = batch.protocol
    cdef int64_t i, at, group, flows = 0, before = 0, size
    cdef Piece* piece
    with nogil:
        for i in range(positions.shape[0]):
            places[local[positions[i]]] += 1
        for group in range(places.shape[0]):
            size = places[group]
            if size:
                groups[flows], first[flows], places[group] = group, before, before
                before += size
                flows += 1
        first[flows] = before
        for i in range(positions.shape[0]):
            if i + AHEAD < positions.shape[0]:
                at = positions[i + AHEAD]  # few of many: nobody else sees what comes next
                prefetch(&length[at])
                prefetch(&captured[at])
                prefetch(&seq[at])
                prefetch(&ack[at])
            at = positions[i]
            group = local[at]
            piece = &pieces[places[group]]
            places[group] += 1
            piece.at, piece.length, piece.offset, piece.seq, piece.ack = at, length[at], 0, seq[at], ack[at]
            piece.flags, piece.end, piece.tcp = flags[at], end[at] & 1, protocol[at] == TCP
            piece.cut = captured[at] < length[at]
    return flows


def fresh_peeks(columns, const int32_t[::1] rows, const int64_t[::1] first, const Piece[::1] pieces,
                int64_t[::1] flow, int64_t[::1] at):
    """Peeked conversations in which somebody speaks for the first time.

    Args:
        rows, first: of the conversations whose segments are `pieces` (see `sort_pieces`).
        flow: takes their places in `rows`; `at`: the positions of their first payload.

    Returns:
        How many there are.
    """
    cdef const uint8_t[::1] selected = columns.selected
    cdef const int64_t[:, ::1] delivered = columns.delivered
    cdef int64_t number, row, i, count = 0
    with nogil:
        for number in range(rows.shape[0]):
            row = rows[number]
            if selected[row] != PEEKED or delivered[row, 0] or delivered[row, 1]:
                continue
            for i in range(first[number], first[number + 1]):
                if pieces[i].length > 0:
                    flow[count], at[count] = number, pieces[i].at
                    count += 1
                    break
    return count


cdef inline void _learn(const Piece* pieces, int64_t count, Side* sides) noexcept nogil:
    """`_learn_starts`: the first segment that tells where a side's stream begins."""
    cdef int64_t i
    cdef Side* own
    cdef Side* peer
    for i in range(count):
        if not pieces[i].tcp or pieces[i].flags & RST:
            continue
        own, peer = &sides[pieces[i].end], &sides[1 - pieces[i].end]
        if not own.known:
            own.known, own.next_seq = 1, pieces[i].seq + (1 if pieces[i].flags & SYN else 0)
        if pieces[i].flags & ACK and not peer.known:
            peer.known, peer.next_seq = 1, pieces[i].ack


cdef inline bint _doubtful(const Piece* piece, const Side* own, const Side* peer) noexcept nogil:
    """`_check_handshakes` of a SYN: whether it does not fit what is known."""
    return (<uint32_t>(piece.seq + 1) != own.next_seq and own.delivered == 0) or (
        piece.flags & ACK and peer.known and piece.ack != peer.next_seq and peer.delivered == 0)


cdef inline bint _follow(Piece* pieces, int64_t count, Side* sides) noexcept nogil:
    """`_check_handshakes` and `_check_order` of one conversation: whether it is not in order; fills in offsets."""
    cdef int64_t i
    cdef Piece* piece
    cdef Side* own
    cdef bint wrong = False
    for i in range(count):
        piece = &pieces[i]
        own = &sides[piece.end]
        if piece.tcp and piece.flags & SYN:
            wrong |= _doubtful(piece, own, &sides[1 - piece.end])
        if piece.length <= 0 and not piece.flags & FIN:
            continue
        wrong |= piece.cut
        if piece.tcp:
            wrong |= (not own.known or piece.seq != own.expected
                      or (piece.length > 0 and piece.flags & (_URG | SYN | RST) != 0))
        piece.offset = own.reached
        own.reached += piece.length
        own.expected = piece.seq + <uint32_t>piece.length
    return wrong


cdef inline bint _is_wanted(const Piece* piece, Side* sides, int64_t limit) noexcept nogil:
    """Whether a segment is of the first `limit` bytes of its side and has payload; what it acknowledges is noted."""
    cdef Side* own = &sides[piece.end]
    cdef Side* peer = &sides[1 - piece.end]
    own.sent += piece.length
    if own.sent - piece.length >= limit:
        return False
    if piece.tcp and piece.flags & (ACK | RST) == ACK:
        peer.acked = max(peer.acked, <int32_t>(piece.ack - peer.next_seq) + peer.delivered)
    return piece.length > 0


def order_pieces(columns, const int32_t[::1] rows, const int64_t[::1] first, Piece[::1] pieces,
                 const uint8_t[::1] dropped, int64_t peek_bytes, uint8_t[::1] closed, int64_t[:, ::1] plain,
                 uint8_t[:, ::1] marks, int64_t[:, ::1] odd):
    """What is to be delivered of conversations: what `in_order` of imapids/flows/ordering.py does with sorted segments.

    Args:
        rows, first, pieces: see `sort_pieces`.
        dropped: conversations that are not looked at any more.
        peek_bytes: bytes of a side of a peeked conversation that are wanted; 0: no conversation is peeked at.
        closed: takes the marks of conversations.
        plain: takes position, conversation and stream offset of each segment with payload of those in order.
        marks: takes side, and whether it is part of a stream, of each of these.
        odd: takes position and conversation of the segments of those that are not in order.

    Returns:
        How many segments are in order, and how many are odd.
    """
    cdef const uint8_t[::1] selected = columns.selected, client_end = columns.client_end
    cdef const uint8_t[:, ::1] flags = columns.flags
    cdef uint8_t[::1] slow = columns.slow.view("u1")
    cdef uint8_t[:, ::1] known = columns.known.view("u1")
    cdef uint32_t[:, ::1] next_seq = columns.next_seq
    cdef int64_t[:, ::1] delivered = columns.delivered, acked = columns.acked
    cdef int64_t number, row, i, start, count, plains = 0, odds = 0, before, limit
    cdef Side[2] sides
    cdef Side* side
    cdef Piece* piece
    cdef bint wrong
    cdef int end
    with nogil:
        for number in range(rows.shape[0]):
            row, start = rows[number], first[number]
            count = first[number + 1] - start
            if count <= 0 or start < 0 or start + count > pieces.shape[0]:
                with gil:
                    raise IndexError("pieces that there are not")
            for end in range(2):
                side = &sides[end]
                side.known, side.next_seq, side.delivered = known[row, end], next_seq[row, end], delivered[row, end]
                side.reached, side.sent, side.acked = side.delivered, side.delivered, acked[row, end]
            _learn(&pieces[start], count, sides)
            sides[0].expected, sides[1].expected = sides[0].next_seq, sides[1].next_seq
            wrong = _follow(&pieces[start], count, sides) or slow[row] != 0
            slow[row], closed[number] = wrong, 0
            for end in range(2):
                side = &sides[end]
                known[row, end] = side.known
                next_seq[row, end] = side.next_seq if wrong else side.expected
                delivered[row, end] = side.delivered if wrong else side.reached
            if dropped[number]:
                continue
            if wrong:
                for i in range(start, start + count):
                    odd[0, odds], odd[1, odds] = pieces[i].at, number
                    odds += 1
                continue
            before, limit = plains, peek_bytes if peek_bytes and selected[row] == PEEKED else INT64_MAX
            for i in range(start, start + count):
                piece = &pieces[i]
                if _is_wanted(piece, sides, limit):
                    plain[0, plains], plain[1, plains], plain[2, plains] = piece.at, number, piece.offset
                    marks[0, plains], marks[1, plains] = piece.end ^ client_end[row], piece.tcp
                    plains += 1
            acked[row, 0], acked[row, 1] = sides[0].acked, sides[1].acked
            if flags[row, 0] & flags[row, 1] & FIN:
                closed[number] = IS_QUIET if plains == before else IS_CLOSED
    return plains, odds
