"""Walks the records and blocks of a capture, and reads their headers: one step for each, at the speed of memory."""

from libc.stdint cimport INT64_MAX, INT64_MIN

cdef extern from *:
    """
    #if defined(__GNUC__)
    #define imapids_soon(bytes, at) __builtin_prefetch((bytes) + (at))
    #else
    #define imapids_soon(bytes, at) ((void)(bytes), (void)(at))
    #endif
    """
    void _soon "imapids_soon"(const uint8_t *bytes, int64_t at) noexcept nogil
    # Asks for the memory around an address, which may be any: nothing is read.

cdef enum:
    AHEAD_BYTES = 2048
    # How far in front of a walk memory is asked for: each step waits for the length that it finds (measured: 15 ns a
    # record instead of 55).
    AHEAD_ROWS = 16
    # The same where offsets are known (measured: 20 ns instead of 40).
    LINE_BYTES = 64


cdef inline int64_t _fetch(const uint8_t[::1] data, int64_t at, int64_t fetched) noexcept nogil:
    """Ask for the lines in front of a walk that were not asked for yet: gives the first of the next time."""
    if fetched < at:
        fetched = at
    while fetched < at + AHEAD_BYTES:
        _soon(&data[0], fetched)
        fetched += LINE_BYTES
    return fetched


cdef inline int64_t _word(const uint8_t* byte, bint big) noexcept nogil:
    """A 32-bit number; the caller has checked that the whole header lies in the buffer."""
    if big:
        return <uint32_t>byte[0] << 24 | <uint32_t>byte[1] << 16 | <uint32_t>byte[2] << 8 | byte[3]
    return <uint32_t>byte[3] << 24 | <uint32_t>byte[2] << 16 | <uint32_t>byte[1] << 8 | byte[0]


cdef inline bint _no_record(const uint8_t* head, const uint32_t[::1] magics) except -1 nogil:
    """`capture_formats.is_no_record` of 16 bytes; the magics are little-endian numbers."""
    if _word(head + 8, False) or _word(head + 12, False):
        return False
    cdef int64_t first = _word(head, False)
    cdef Py_ssize_t index
    if first == 0:
        return _word(head + 4, False) == 0
    for index in range(magics.shape[0]):
        if magics[index] == first:
            return True
    return False


def walk_records(const uint8_t[::1] data, int64_t at, int64_t last, int64_t stop, int64_t header, int64_t length_at,
                 int64_t other_at, int64_t added, int64_t most, bint big, const uint32_t[::1] magics,
                 int64_t[::1] found):
    """`RecordFraming.serial`: whole records that follow each other from `at`.

    Args:
        last: records start before it.
        stop: end of the data.
        header: bytes of a header, and least bytes of a record.
        length_at, other_at: fields of the header; the smaller number, and `added`, is the length of the record.
        most: a longer record is none.
        magics: in place of the first field they make a header of zeros that of a joined file.
        found: takes the offsets; its length is the most that are walked.

    Returns:
        (how many were found, where the next would start, whether no whole record starts there).
    """
    cdef int64_t count = 0, asked = found.shape[0], length, fetched = at
    cdef const uint8_t* bytes = &data[0] if data.shape[0] else NULL
    cdef bint stuck = False
    # So that each header lies in the buffer, and each field in its header.
    if (at < 0 or stop > data.shape[0] or last > stop - header + 1 or header < 16
            or not 0 <= length_at <= header - 4 or not 0 <= other_at <= header - 4):
        raise IndexError("a walk that leaves the buffer")
    with nogil:
        while at < last and count < asked:
            length = min(_word(bytes + at + length_at, big), _word(bytes + at + other_at, big)) + added
            if (length < header or length > most or at + length > stop
                    or (length == header and _no_record(bytes + at, magics))):
                stuck = True
                break
            found[count] = at
            count += 1
            at += length
            fetched = _fetch(data, at, fetched)
    return count, at, stuck


def walk_blocks(const uint8_t[::1] data, int64_t at, int64_t last, int64_t stop, int64_t least, int64_t most, bint big,
                uint32_t section, int64_t[::1] found):
    """`BlockFraming.serial`: whole pcapng blocks but section headers, whose two lengths agree.

    Arguments and result are those of `walk_records`; `section` is the type of a section header.
    """
    cdef int64_t count = 0, asked = found.shape[0], length, fetched = at
    cdef const uint8_t* bytes = &data[0] if data.shape[0] else NULL
    cdef bint stuck = False
    if at < 0 or stop > data.shape[0] or last > stop - least + 1 or least < 8:
        raise IndexError("a walk that leaves the buffer")
    with nogil:
        while at < last and count < asked:
            length = _word(bytes + at + 4, big)
            if (length & 3 or length < least or length > most or at + length > stop
                    or _word(bytes + at, big) == section or _word(bytes + at + length - 4, big) != length):
                stuck = True
                break
            found[count] = at
            count += 1
            at += length
            fetched = _fetch(data, at, fetched)
    return count, at, stuck


def read_records(const uint8_t[::1] data, const int64_t[::1] at, int64_t header, int64_t seconds_at,
                 int64_t fraction_at, int64_t captured_at, int64_t original_at, int64_t fraction_ns,
                 int64_t fraction_limit, int64_t snaplen, bint big, int64_t first_number, int64_t[::1] offset,
                 int64_t[::1] captured, int64_t[::1] original, int64_t[::1] time_ns, int64_t[::1] number):
    """What `PcapReader.batch` makes of the headers at `at`, into five columns of the same length.

    Returns:
        How many have (less bytes on the wire than captured, more captured than a `snaplen` that is not 0, a fraction of
        `fraction_limit` or more).
    """
    cdef int64_t here, held, whole, fraction, below = 0, above = 0, late = 0, highest = data.shape[0] - header
    cdef const uint8_t* bytes = &data[0] if data.shape[0] else NULL
    cdef const uint8_t* head
    cdef Py_ssize_t index
    if not 0 <= min(seconds_at, fraction_at, captured_at, original_at) <= header - 4 \
            or max(seconds_at, fraction_at, captured_at, original_at) > header - 4:
        raise IndexError("a field outside of its header")
    with nogil:
        for index in range(at.shape[0]):
            here = at[index]
            if here < 0 or here > highest:
                with gil:
                    raise IndexError("a header outside of the buffer")
            if index + AHEAD_ROWS < at.shape[0]:
                _soon(bytes, at[index + AHEAD_ROWS])
            head = bytes + here
            held, whole = _word(head + captured_at, big), _word(head + original_at, big)
            fraction = _word(head + fraction_at, big)
            below += whole < held
            above += snaplen != 0 and held > snaplen
            late += fraction >= fraction_limit
            offset[index], captured[index], original[index] = here + header, held, max(whole, held)
            time_ns[index] = _word(head + seconds_at, big) * 1_000_000_000 + fraction * fraction_ns
            number[index] = first_number + index
    return below, above, late


cdef inline bint _ends_past(const uint8_t* bytes, int64_t at, int64_t end, int64_t checked, bint big) noexcept nogil:
    """Whether one of the first options from `at` runs past `end` (inside the buffer), where the block ends."""
    cdef int64_t word, code, length
    while checked > 0 and at + 4 <= end:
        word = _word(bytes + at, big)
        code, length = (word >> 16, word & 0xFFFF) if big else (word & 0xFFFF, word >> 16)
        if code == 0:  # the end of options
            return False
        if at + 4 + length > end:
            return True
        at += 4 + (length + 3 & ~3)
        checked -= 1
    return False


def read_blocks(const uint8_t[::1] data, const int64_t[::1] at, bint big, int64_t kind, int64_t header,
                int64_t interfaces, int64_t checked, int64_t[::1] offset, int64_t[::1] captured, int64_t[::1] original,
                int64_t[::1] interface, uint64_t[::1] ticks):
    """What `PcapngReader` makes of enhanced packet blocks at `at`, into five columns of the same length.

    Args:
        kind: the type of the blocks; `header`: their bytes before the packet's.
        interfaces: how many are described.
        checked: most options of a block that are looked at.

    Returns:
        How many (were read, until one came that is of another kind, or names a strange interface, or captured more
        than it holds; have less bytes on the wire than captured; have an option that runs past the block).
    """
    cdef int64_t here, length, held, whole, below = 0, past = 0, size = data.shape[0]
    cdef const uint8_t* bytes = &data[0] if size else NULL
    cdef const uint8_t* head
    cdef Py_ssize_t index, count = at.shape[0], done = 0
    if header < 28:
        raise IndexError("a field outside of its header")
    with nogil:
        for index in range(count):
            if index + AHEAD_ROWS < count:
                _soon(bytes, at[index + AHEAD_ROWS])
            here = at[index]
            if here < 0 or here + header + 4 > size:
                break
            head = bytes + here
            length = _word(head + 4, big)
            if (length < header + 4 or here + length > size or _word(head, big) != kind
                    or _word(head + 8, big) >= interfaces):
                break
            held, whole = _word(head + 20, big), _word(head + 24, big)
            if held > length - header - 4:
                break
            below += whole < held
            past += _ends_past(bytes, here + header + (held + 3 & ~3), here + length - 4, checked, big)
            offset[index], captured[index], original[index] = here + header, held, max(whole, held)
            interface[index] = _word(head + 8, big)
            ticks[index] = <uint64_t>_word(head + 12, big) << 32 | <uint64_t>_word(head + 16, big)
            done += 1
    return done, below, past


# Short loops over one batch. They keep the interpreter lock: to get it back takes longer than they do, for a thread that
# makes batches beside another one that is at work.

ctypedef fused Small:
    uint8_t
    uint16_t


def are_alike(const Small[::1] column):
    """Whether all numbers are the same (of none, they are)."""
    cdef Py_ssize_t index, count = column.shape[0]
    cdef Small differs = 0
    for index in range(1, count):
        differs |= column[index] ^ column[0]
    return differs == 0


def ends_of(const int64_t[::1] at, const int64_t[::1] captured, const int64_t[::1] original, int64_t[::1] end,
            int64_t[::1] wire):
    """Where packets end as captured and on the wire, into two columns."""
    cdef Py_ssize_t index
    for index in range(at.shape[0]):
        end[index], wire[index] = at[index] + captured[index], at[index] + original[index]


def stamp_facts(const int64_t[::1] time_ns, int64_t newest, int64_t most_back):
    """What `Ledger.packets` tells of stamps; those that are 0 are none.

    Args:
        newest: the stamp before them.
        most_back: a larger step back is counted.

    Returns:
        (how many stamps there are, the least, the largest, the last one, steps back).
    """
    cdef int64_t stamp, count = 0, least = INT64_MAX, largest = INT64_MIN, back = 0
    cdef Py_ssize_t index
    for index in range(time_ns.shape[0]):
        stamp = time_ns[index]
        if stamp == 0:
            continue
        count += 1
        least, largest = min(least, stamp), max(largest, stamp)
        back += stamp < newest - most_back
        newest = stamp
    return count, least, largest, newest, back


cdef enum:
    MOST_COLUMNS = 32


cdef struct Moved:
    const uint8_t* source
    uint8_t* target
    int size


def keep_rows(const uint8_t[::1] present, list columns, list kept):
    """Writes the rows of columns that are present to the begin of others, or of the same.

    Args:
        columns, kept: pairs of contiguous columns of the same type with as many rows as `present`.

    Returns:
        How many rows are present.
    """
    cdef Moved[MOST_COLUMNS] moved
    cdef Py_ssize_t place, row, found = 0, count = len(columns), total = present.shape[0]
    cdef const uint8_t[::1] source
    cdef uint8_t[::1] target
    if count > MOST_COLUMNS or count != len(kept):
        raise IndexError("too many columns, or without a pair")
    if total == 0:
        return 0
    for place in range(count):
        source, target = columns[place].view("u1"), kept[place].view("u1")
        moved[place].size = columns[place].itemsize
        if source.shape[0] != total * moved[place].size or target.shape[0] != source.shape[0]:
            raise IndexError("columns that differ in length")
        moved[place].source, moved[place].target = &source[0], &target[0]
    with nogil:
        for place in range(count):
            found = _keep(&present[0], total, moved[place])
    return found


cdef Py_ssize_t _keep(const uint8_t* present, Py_ssize_t total, Moved moved) noexcept nogil:
    """One of the columns; the rows before those that are kept are never read again."""
    cdef Py_ssize_t row, found = 0
    for row in range(total):
        if present[row]:
            if moved.size == 8:
                (<uint64_t*>moved.target)[found] = (<const uint64_t*>moved.source)[row]
            elif moved.size == 4:
                (<uint32_t*>moved.target)[found] = (<const uint32_t*>moved.source)[row]
            elif moved.size == 2:
                (<uint16_t*>moved.target)[found] = (<const uint16_t*>moved.source)[row]
            else:
                moved.target[found] = moved.source[row]
            found += 1
    return found
