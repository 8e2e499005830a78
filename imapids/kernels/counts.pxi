"""What observers count of ended conversations."""

from libc.stdint cimport INT64_MIN


def mix_column(uint64_t[::1] state, const uint64_t[::1] column, uint64_t salt):
    """A column's part of the keyed hashes `state`: one round of `mixed` in observe/counting.py."""
    cdef int64_t i
    cdef uint64_t value
    with nogil:
        for i in range(state.shape[0]):
            value = (state[i] ^ column[i]) + salt
            value = (value ^ (value >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
            value = (value ^ (value >> 27)) * <uint64_t>0x94D049BB133111EB
            state[i] = value ^ (value >> 31)


cdef inline int64_t _slot(const uint64_t[::1] table, uint64_t value, uint64_t mix) except -1 nogil:
    """Where a value that is not 0 stands in a table of 2^k slots, or would; a slot must be free, which holds 0."""
    cdef int64_t mask = table.shape[0] - 1, at = <int64_t>((value * mix) >> 20) & mask
    while table[at] != 0 and table[at] != value:
        at = (at + 1) & mask
    return at


def new_values(const uint64_t[::1] values, int64_t start, const uint64_t[::1] older, uint64_t[::1] newer,
               uint8_t[::1] zeros, int64_t room, uint64_t mix, uint8_t[::1] fresh):
    """Puts values into a set of hashes (`SeenTable` of observe/tables.py), up to the first that finds no room.

    Args:
        start: the first value that is looked at.
        older, newer: tables of 2^k slots, at most half full; 0 is a free slot. New values go to `newer`.
        zeros: whether each of the two holds the value 0, shape (2,).
        room: how many values find room.
        mix: an odd number that nobody can guess.
        fresh: marks the values that stood in neither.

    Returns:
        (where it stopped, how many values were put in).
    """
    cdef int64_t i, at, added = 0
    cdef uint64_t value
    with nogil:
        for i in range(start, values.shape[0]):
            value = values[i]
            if value == 0:
                if zeros[0] or zeros[1]:
                    continue
            else:
                at = _slot(newer, value, mix)
                if newer[at] == value or older[_slot(older, value, mix)] == value:
                    continue
            if added == room:
                with gil:
                    return i, added
            if value == 0:
                zeros[1] = 1
            else:
                newer[at] = value
            added += 1
            fresh[i] = 1
    return values.shape[0], added


def find_groups(const uint64_t[::1] keys, uint64_t[::1] table, int64_t[::1] numbers, uint64_t mix, int64_t[::1] groups,
                int64_t[::1] rows, int64_t[::1] slots):
    """The groups of keys; those that are new take slots of the table (`GroupTable` of observe/tables.py).

    Args:
        table: keys in 2^k slots; it stays at most half full.
        numbers: the group in each slot; INT64_MIN where there is none, -1 - n for the n-th one that is new.
        mix: an odd number that nobody can guess.
        groups: takes what `numbers` says for each key.
        rows, slots: take the row that made each new group, and its slot.

    Returns:
        How many groups are new.
    """
    cdef int64_t i, at, new = 0, mask = table.shape[0] - 1
    with nogil:
        for i in range(keys.shape[0]):
            at = <int64_t>((keys[i] * mix) >> 20) & mask
            while numbers[at] != INT64_MIN and table[at] != keys[i]:
                at = (at + 1) & mask
            if numbers[at] == INT64_MIN:
                table[at] = keys[i]
                numbers[at] = -1 - new
                rows[new], slots[new] = i, at
                new += 1
            groups[i] = numbers[at]
    return new


def count_decisive(const int64_t[::1] groups, const int8_t[:, ::1] rows, const int64_t[::1] decisive,
                   int64_t[:, ::1] counts, int8_t[:, ::1] part, int64_t[:, ::1] running):
    """Adds some fields of rows to the counts of their groups.

    Args:
        groups: of each row; `rows`: what each adds, shape (n, fields).
        decisive: the fields that are added.
        counts: by group, shape (groups, fields).
        part, running: take these fields of each row, and their counts right after it, shape (n, len(decisive)).
    """
    cdef int64_t i, k, field
    with nogil:
        for i in range(groups.shape[0]):
            for k in range(decisive.shape[0]):
                field = decisive[k]
                part[i, k] = rows[i, field]
                counts[groups[i], field] += rows[i, field]
                running[i, k] = counts[groups[i], field]


def count_others(const int64_t[::1] groups, const int8_t[:, ::1] rows, const int64_t[::1] others,
                 int64_t[:, ::1] counts, const int64_t[::1] first_ns, const int64_t[::1] last_ns,
                 const int64_t[::1] over_ns, int64_t[::1] first, int64_t[::1] last, int64_t[::1] over,
                 const int64_t[::1] told, int64_t[:, ::1] shown):
    """Adds the other fields and the times of rows; copies the state of groups at the rows that are told of.

    Args:
        first_ns, last_ns, over_ns: times of each row; `first`, `last`, `over`: of each group.
        told: ascending rows.
        shown: takes the first and the last time, then the counts of `others`, right after each of these rows.
    """
    cdef int64_t i, k, group, show = 0
    with nogil:
        for i in range(groups.shape[0]):
            group = groups[i]
            for k in range(others.shape[0]):
                counts[group, others[k]] += rows[i, others[k]]
            first[group] = min(first[group], first_ns[i])
            last[group] = max(last[group], last_ns[i])
            over[group] = max(over[group], over_ns[i])
            if show < told.shape[0] and told[show] == i:
                shown[show, 0], shown[show, 1] = first[group], last[group]
                for k in range(others.shape[0]):
                    shown[show, 2 + k] = counts[group, others[k]]
                show += 1


def at_steps(const int8_t[:, ::1] rows, const int64_t[:, ::1] running, int64_t column, const int64_t[::1] also,
             uint8_t[::1] hit):
    """Marks the rows at which a count becomes 10, 100, 1,000 ... or one of `also`: `at_step` of observe/counting.py."""
    cdef int64_t i, k, count, step, last = 100_000_000_000
    with nogil:
        for i in range(rows.shape[0]):
            if rows[i, column] == 0:
                continue
            count, step = running[i, column], 10
            while step < count and step < last:
                step *= 10
            hit[i] = 1 if step == count else 0
            for k in range(also.shape[0]):
                if also[k] == count:
                    hit[i] = 1
