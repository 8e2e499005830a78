"""Walks the records of a capture: a step for each, at the speed of memory."""


cdef inline uint32_t _word(const uint8_t[::1] data, int64_t at, bint big) nogil:
    cdef uint32_t a = data[at], b = data[at + 1], c = data[at + 2], d = data[at + 3]
    if big:
        return a << 24 | b << 16 | c << 8 | d
    return d << 24 | c << 16 | b << 8 | a


def walk_records(const uint8_t[::1] data, int64_t at, int64_t last, int64_t stop, int64_t header, int64_t captured_at,
                 int64_t limit, bint big, int64_t[::1] found):
    """`RecordFraming.serial` for records that tell their captured length only.

    Args:
        last: records start before it.
        found: takes the offsets; its length is the most that are walked.

    Returns:
        (how many were found, where the next would start, why the walk ended: 0 no more were asked for or `last` was
        reached, 1 no whole record starts there, 2 the header there says that it is empty: the caller looks at it).
    """
    cdef int64_t count = 0, most = found.shape[0], length
    with nogil:
        while at < last and count < most:
            length = _word(data, at + captured_at, big)
            if length > limit or at + header + length > stop:
                with gil:
                    return count, at, 1
            if length == 0:
                with gil:
                    return count, at, 2
            found[count] = at
            count += 1
            at += header + length
    return count, at, 0
