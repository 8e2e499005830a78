"""Segments to conversations: the hash table of a batch, the index of the flow table, and what is counted of each."""

from libc.stdint cimport INT32_MAX, INT64_MAX
from libc.string cimport memcpy

cdef extern from *:
    """
    #if defined(__GNUC__) || defined(__clang__)
    #define prefetch(address) __builtin_prefetch(address)
    #else
    #define prefetch(address) ((void)(address))
    #endif
    """
    void prefetch(const void* address) noexcept nogil

cdef enum:
    AHEAD = 16  # steps ahead of its use that memory is asked for
    BLOCK = 32  # segments that are hashed before the first of them is looked up
    KEY = 5  # words of a key
    LEAST_BITS = 12  # of the table of a batch, which grows with the conversations that it holds

cdef struct Sums:
    # An element of `Cells.table`: both directions of a conversation in one line of the cache.
    int64_t size
    int32_t packets
    int32_t syn
    int32_t fin
    int32_t told
    int32_t last
    uint8_t flags
    uint8_t differs


cdef inline void _start_sums(Sums* sums) noexcept nogil:
    sums.size = sums.packets = sums.flags = sums.differs = 0
    sums.syn = sums.fin = sums.told = sums.last = -1


cdef inline void _add_segment(Sums* sums, int32_t position, int64_t length, bint tells, uint8_t flags,
                              const uint32_t* seq) noexcept nogil:
    """Counts the segment at a position; `seq` are the sequence numbers of all."""
    sums.packets += 1
    sums.size += length
    sums.flags |= flags
    sums.last = position
    sums.told ^= (sums.told ^ position) & -<int32_t>(tells & (sums.told < 0))  # no branch: nobody can guess it
    if flags & (SYN | FIN):
        if flags & FIN and sums.fin < 0:
            sums.fin = position
        if flags & SYN and sums.syn < 0:
            sums.syn = position
        elif flags & SYN and seq[position] != seq[sums.syn]:
            sums.differs = 1


cdef inline uint8_t _pack(uint64_t src_hi, uint64_t src_lo, uint64_t dst_hi, uint64_t dst_lo, uint64_t src_port,
                          uint64_t dst_port, uint64_t rest, uint64_t* key) noexcept nogil:
    """`key_words` of one segment: the lower end first. Returns which end of the key sent it."""
    cdef uint64_t swapped = (src_hi > dst_hi) | ((src_hi == dst_hi) & (
        (src_lo > dst_lo) | ((src_lo == dst_lo) & (src_port > dst_port))))
    cdef uint64_t mask = 0 - swapped, hi = (src_hi ^ dst_hi) & mask, lo = (src_lo ^ dst_lo) & mask
    cdef uint64_t port = (src_port ^ dst_port) & mask
    key[0] = src_hi ^ hi
    key[1] = src_lo ^ lo
    key[2] = dst_hi ^ hi
    key[3] = dst_lo ^ lo
    key[4] = (src_port ^ port) << 48 | (dst_port ^ port) << 32 | rest
    return <uint8_t>swapped


cdef inline uint64_t _hash(const uint64_t* key, const uint64_t* mix) noexcept nogil:
    """`FlowIndex.hashed` of one key."""
    cdef uint64_t value = key[0] * mix[0]
    cdef int word
    for word in range(1, KEY):
        value ^= value >> 29
        value += key[word]
        value *= mix[word]
    value ^= value >> 32
    return value * mix[KEY]


cdef inline bint _alike(const uint64_t* one, const uint64_t* other) noexcept nogil:
    return ((one[4] ^ other[4]) | (one[1] ^ other[1]) | (one[3] ^ other[3]) | (one[0] ^ other[0])
            | (one[2] ^ other[2])) == 0


cdef void _pack_some(int64_t count, const uint64_t* src_hi, const uint64_t* src_lo, const uint64_t* dst_hi,
                     const uint64_t* dst_lo, const uint16_t* src_port, const uint16_t* dst_port, const uint32_t* tunnel,
                     const uint8_t* protocol, const uint64_t* mix, uint64_t* keys, uint64_t* hashes,
                     uint8_t* end) noexcept nogil:
    """Keys and their hashes of `count` segments, which the caller knows to be there; which end of its key sent each."""
    cdef int64_t i
    for i in range(count):
        end[i] = _pack(src_hi[i], src_lo[i], dst_hi[i], dst_lo[i], src_port[i], dst_port[i],
                       <uint64_t>tunnel[i] << 8 | protocol[i], keys + KEY * i)
        hashes[i] = _hash(keys + KEY * i, mix)


cdef int _lay(int32_t[::1] slots, const uint64_t[::1] hashes, int64_t count, int shift) except -1 nogil:
    """Empties the first 2^(64 - shift) slots, and puts the entries below `count` there: at most a quarter as many."""
    cdef int64_t mask = (<int64_t>1 << (64 - shift)) - 1, entry, at
    for at in range(mask + 1):
        slots[at] = -1
    for entry in range(count):
        at = <int64_t>(hashes[entry] >> shift)
        while slots[at] >= 0:
            at = (at + 1) & mask
        slots[at] = <int32_t>entry
    return 0


def _dense(column):
    """The column without steps between its elements: batches of the decoder have none."""
    return column if column.flags.c_contiguous else column.copy()


def group_segments(batch, const uint64_t[::1] mix, int32_t[::1] slots, uint64_t[:, ::1] keys, uint64_t[::1] hashes,
                   int64_t[::1] first, int64_t[::1] local, uint8_t[::1] end):
    """`SegmentGrouper.keyed`: numbers the conversations of a batch of n segments.

    Args:
        mix: the multipliers of `FlowIndex`.
        slots: scratch, at least 4 * n, and at least 4,096, rounded up to a power of two.
        keys, hashes, first: take those of the groups, n at most.
        local, end: take those of the segments (see `Groups`).

    Returns:
        How many groups there are.
    """
    cdef const uint64_t[::1] src_hi = _dense(batch.src_hi), src_lo = _dense(batch.src_lo)
    cdef const uint64_t[::1] dst_hi = _dense(batch.dst_hi), dst_lo = _dense(batch.dst_lo)
    cdef const uint16_t[::1] src_port = _dense(batch.src_port), dst_port = _dense(batch.dst_port)
    cdef const uint32_t[::1] tunnel = _dense(batch.tunnel)
    cdef const uint8_t[::1] protocol = _dense(batch.protocol)
    cdef int64_t count = local.shape[0], block, start, stop, position, at, entry, groups = 0, mask = (1 << LEAST_BITS) - 1
    cdef uint64_t[BLOCK * KEY] ahead
    cdef uint64_t[BLOCK] values
    cdef uint64_t* key
    cdef uint64_t value
    cdef int shift = 64 - LEAST_BITS
    if mix.shape[0] != KEY + 1 or keys.shape[1] != KEY:
        raise ValueError("keys and multipliers of another kind")
    if count > min(src_hi.shape[0], src_lo.shape[0], dst_hi.shape[0], dst_lo.shape[0], src_port.shape[0],
                   dst_port.shape[0], tunnel.shape[0], protocol.shape[0], end.shape[0]):
        raise IndexError("columns that differ in length")
    with nogil:
        _lay(slots, hashes, 0, shift)
        for block in range((count + BLOCK - 1) // BLOCK):
            start = BLOCK * block
            stop = min(start + BLOCK, count)
            _pack_some(stop - start, &src_hi[start], &src_lo[start], &dst_hi[start], &dst_lo[start], &src_port[start],
                       &dst_port[start], &tunnel[start], &protocol[start], &mix[0], ahead, values, &end[start])
            for position in range(stop - start):
                prefetch(&slots[<int64_t>(values[position] >> shift)])
            for position in range(start, stop):
                key = ahead + KEY * (position - start)
                value = values[position - start]
                at = <int64_t>(value >> shift)
                entry = slots[at]
                while entry >= 0 and not _alike(&keys[entry, 0], key):
                    at = (at + 1) & mask
                    entry = slots[at]
                if entry < 0:
                    entry = groups
                    keys[entry, 0], keys[entry, 1], keys[entry, 2], keys[entry, 3] = key[0], key[1], key[2], key[3]
                    keys[entry, 4] = key[4]
                    hashes[entry], first[entry], slots[at] = value, position, <int32_t>entry
                    groups += 1
                    if 4 * groups > mask + 1:
                        shift -= 1
                        mask = 2 * mask + 1
                        _lay(slots, hashes, groups, shift)
                local[position] = entry
    return groups


def find_keys(const uint64_t[:, :] keys, const uint64_t[::1] hashes, const int32_t[::1] slots,
              const uint64_t[::1] held, const uint64_t[:, ::1] stored, int shift, int32_t[::1] entry,
              int64_t[::1] slot):
    """`FlowIndex.find`.

    Args:
        held: the hash of each entry's key; `stored`: these keys.
        entry, slot: take what is found.
    """
    cdef int64_t number, at, mask = slots.shape[0] - 1
    cdef int32_t there
    with nogil:
        for number in range(entry.shape[0]):
            if number + 2 * AHEAD < entry.shape[0]:
                prefetch(&slots[<int64_t>(hashes[number + 2 * AHEAD] >> shift)])
            if number + AHEAD < entry.shape[0]:
                there = slots[<int64_t>(hashes[number + AHEAD] >> shift)]
                if there >= 0:
                    prefetch(&held[there])
                    prefetch(&stored[there, 0])
            at = <int64_t>(hashes[number] >> shift)
            there = slots[at]
            while there >= 0 and not (held[there] == hashes[number] and stored[there, 4] == keys[number, 4]
                                      and stored[there, 3] == keys[number, 3] and stored[there, 2] == keys[number, 2]
                                      and stored[there, 1] == keys[number, 1] and stored[there, 0] == keys[number, 0]):
                at = (at + 1) & mask
                there = slots[at]
            entry[number] = there
            slot[number] = at


def hash_keys(const uint64_t[:, ::1] keys, const uint64_t[::1] mix, uint64_t[::1] hashes):
    """`FlowIndex.hashed`; `hashes` takes what is found."""
    cdef int64_t number
    if mix.shape[0] != KEY + 1 or keys.shape[1] != KEY:
        raise ValueError("keys and multipliers of another kind")
    with nogil:
        for number in range(hashes.shape[0]):
            hashes[number] = _hash(&keys[number, 0], &mix[0])


def add_keys(const uint64_t[:, ::1] keys, const uint64_t[::1] hashes, const int32_t[:] rows, int32_t[::1] slots,
             uint64_t[::1] held, uint64_t[:, ::1] stored, int shift, int32_t[::1] entry):
    """`FlowIndex.add`: one key after the other; most slots are empty.

    Args:
        held: the hash of each entry's key; `stored`: these keys. Those of new entries are written.
        entry: takes what is found, or the row itself.
    """
    cdef int64_t number, at, mask = slots.shape[0] - 1
    cdef int32_t there
    if keys.shape[1] != KEY or stored.shape[1] != KEY:
        raise ValueError("keys of another kind")
    with nogil:
        for number in range(entry.shape[0]):
            at = <int64_t>(hashes[number] >> shift)
            there = slots[at]
            while there >= 0 and not (held[there] == hashes[number] and _alike(&stored[there, 0], &keys[number, 0])):
                at = (at + 1) & mask
                there = slots[at]
            if there < 0:
                there = rows[number]
                memcpy(&stored[there, 0], &keys[number, 0], KEY * sizeof(uint64_t))
                held[there] = hashes[number]
                slots[at] = there
            entry[number] = there


def place_entries(const int32_t[:] entries, const int64_t[:] slot, int32_t[::1] slots):
    """`FlowIndex._place`: puts entries into the first empty slots from the ones given; most slots are empty."""
    cdef int64_t number, at, mask = slots.shape[0] - 1
    with nogil:
        for number in range(entries.shape[0]):
            if number + AHEAD < entries.shape[0]:
                prefetch(&slots[slot[number + AHEAD]])
            at = slot[number]
            while slots[at] >= 0:
                at = (at + 1) & mask
            slots[at] = entries[number]


def insert_keys(const int32_t[:] entries, const uint64_t[:, ::1] keys, const uint64_t[::1] hashes,
                const int64_t[:] slot, int32_t[::1] slots, uint64_t[::1] held, uint64_t[:, ::1] stored):
    """`FlowIndex.insert`: writes keys, their hashes, and where they stand."""
    cdef int64_t number, at, mask = slots.shape[0] - 1
    cdef int32_t entry
    if keys.shape[1] != KEY or stored.shape[1] != KEY:
        raise ValueError("keys of another kind")
    with nogil:
        for number in range(entries.shape[0]):
            if number + AHEAD < entries.shape[0]:
                prefetch(&slots[slot[number + AHEAD]])
            entry = entries[number]
            memcpy(&stored[entry, 0], &keys[number, 0], KEY * sizeof(uint64_t))
            held[entry] = hashes[number]
            at = slot[number]
            while slots[at] >= 0:
                at = (at + 1) & mask
            slots[at] = entry


def sum_cells(batch, const int64_t[::1] local, const uint8_t[::1] end, int64_t least_bytes, Sums[:, ::1] sums):
    """`Cells.of`: what a batch holds of each direction of each conversation.

    Args:
        local, end: see `Groups`.
        least_bytes: captured bytes of a segment that is worth a look.
        sums: takes what the batch holds of each group.
    """
    cdef const int64_t[:] length = batch.length, captured = batch.captured
    cdef const uint32_t[::1] seq = _dense(batch.seq)
    cdef const uint8_t[:] flags = batch.flags
    cdef int64_t position, group
    if sums.shape[1] != 2 or local.shape[0] > INT32_MAX:
        raise ValueError("sums of another kind")
    if local.shape[0] > seq.shape[0]:
        raise IndexError("columns that differ in length")
    with nogil:
        for group in range(sums.shape[0]):
            _start_sums(&sums[group, 0])
            _start_sums(&sums[group, 1])
        for position in range(local.shape[0]):
            _add_segment(&sums[local[position], end[position]], <int32_t>position, length[position],
                         captured[position] >= least_bytes, flags[position], &seq[0])


def widest_steps(const int64_t[:] stamps, int64_t before):
    """The least and the largest step from one stamp to the next, the first one from `before`; wraps as NumPy does."""
    cdef int64_t position, step, least, largest
    with nogil:
        least = largest = <int64_t>(<uint64_t>stamps[0] - <uint64_t>before)
        for position in range(1, stamps.shape[0]):
            step = <int64_t>(<uint64_t>stamps[position] - <uint64_t>stamps[position - 1])
            if step < least:
                least = step
            if step > largest:
                largest = step
    return least, largest
