"""Which addresses are in a set of networks."""


def in_networks(const uint64_t[:] hi, const uint64_t[:] lo, const uint64_t[::1] v4_first, const uint64_t[::1] v4_last,
                const uint64_t[::1] first_hi, const uint64_t[::1] first_lo, const uint64_t[::1] last_hi,
                const uint64_t[::1] last_lo, uint8_t[::1] inside):
    """`Networks.contains_columns`: bisection, one address after the other.

    Args:
        hi, lo: addresses, shape (n,), IPv4 as IPv4-mapped.
        v4_first, v4_last: low halves of the ends of sorted intervals of IPv4; the next four: of IPv6, in halves.
        inside: takes the answers, shape (n,).
    """
    cdef int64_t i, low, high, middle
    with nogil:
        for i in range(inside.shape[0]):
            low = 0
            if hi[i] == 0 and lo[i] >> 32 == 0xFFFF:
                high = v4_first.shape[0]
                while low < high:
                    middle = (low + high) // 2
                    if v4_first[middle] <= lo[i]:
                        low = middle + 1
                    else:
                        high = middle
                inside[i] = low > 0 and lo[i] <= v4_last[low - 1]
            else:
                high = first_hi.shape[0]
                while low < high:
                    middle = (low + high) // 2
                    if first_hi[middle] < hi[i] or (first_hi[middle] == hi[i] and first_lo[middle] <= lo[i]):
                        low = middle + 1
                    else:
                        high = middle
                inside[i] = low > 0 and (hi[i] < last_hi[low - 1]
                                         or (hi[i] == last_hi[low - 1] and lo[i] <= last_lo[low - 1]))
