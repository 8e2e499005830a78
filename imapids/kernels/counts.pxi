"""What observers count of ended conversations."""

cdef enum:
    FEWEST_SLOTS = 1024  # of a hash table
    NO_GROUP = -1


cdef inline uint64_t _stirred(uint64_t state, uint64_t value, uint64_t salt) noexcept nogil:
    """One round of `mixed` in observe/counting.py."""
    value = (state ^ value) + salt
    value = (value ^ (value >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    value = (value ^ (value >> 27)) * <uint64_t>0x94D049BB133111EB
    return value ^ (value >> 31)


cdef inline uint64_t _mixed_two(const uint64_t *salts, uint64_t one, uint64_t other) noexcept nogil:
    """`mixed` of two values; `salts`: four numbers that nobody can guess."""
    return _stirred(_stirred(salts[0], one, salts[1]), other, salts[2])


def mix_column(uint64_t[::1] state, const uint64_t[::1] column, uint64_t salt):
    """A column's part of the keyed hashes `state`: one round of `mixed` in observe/counting.py."""
    cdef int64_t i
    with nogil:
        for i in range(state.shape[0]):
            state[i] = _stirred(state[i], column[i], salt)


cdef inline int64_t _slot(const uint64_t[::1] table, uint64_t value, uint64_t mix) except -1 nogil:
    """Where a value that is not 0 stands in a table of 2^k slots, or would; a slot must be free, which holds 0."""
    cdef int64_t mask = table.shape[0] - 1, at = <int64_t>((value * mix) >> 20) & mask
    while table[at] != 0 and table[at] != value:
        at = (at + 1) & mask
    return at


def have_common(const uint64_t[::1] some, const uint64_t[::1] others, uint64_t[::1] table, uint64_t mix):
    """Whether a value stands in both columns: `RelayFinder` of observe/relays.py.

    Args:
        table: 2^k slots that hold 0, more than there are values in `some`.
        mix: an odd number that nobody can guess.
    """
    cdef int64_t i
    cdef bint zero = False
    with nogil:
        for i in range(some.shape[0]):
            if some[i] == 0:
                zero = True
            else:
                table[_slot(table, some[i], mix)] = some[i]
        for i in range(others.shape[0]):
            if zero if others[i] == 0 else table[_slot(table, others[i], mix)] != 0:
                with gil:
                    return True
    return False


cdef class ValueSet:
    """A set of hashes of bounded size, `SeenBefore` of observe/counting.py, in two hash tables: one of each half."""

    cdef uint64_t[::1] older, newer  # of 2^k slots, at most half full; 0 marks a free slot
    cdef int zero_in_older, zero_in_newer
    cdef int64_t held, room  # values in the newer half, and how many it may hold
    cdef uint64_t mix
    cdef object table_of
    cdef readonly int64_t forgotten

    def __init__(self, int64_t room, uint64_t mix, table_of):
        """
        Args:
            room: values of each half, 1 at least.
            mix: an odd number that nobody can guess.
            table_of: makes a table of so many slots, uint64, that hold 0.
        """
        if room < 1:
            raise ValueError("room for one value at least")
        self.room, self.mix, self.table_of = room, mix, table_of
        self.older, self.newer = table_of(FEWEST_SLOTS), table_of(FEWEST_SLOTS)

    @property
    def slots(self):
        """Slots of the newer table."""
        return self.newer.shape[0]

    def add(self, const uint64_t[::1] values, uint8_t[::1] fresh):
        """Puts values into the set, and marks those that did not stand in it."""
        cdef int64_t i
        with nogil:
            for i in range(values.shape[0]):
                fresh[i] = self.put(values[i])

    cdef inline void ask_for(self, uint64_t value) noexcept nogil:
        """Fetches the memory where a value stands: it comes while others are looked up."""
        prefetch(&self.newer[<int64_t>((value * self.mix) >> 20) & (self.newer.shape[0] - 1)])
        prefetch(&self.older[<int64_t>((value * self.mix) >> 20) & (self.older.shape[0] - 1)])

    cdef int put(self, uint64_t value) except -1 nogil:
        """1 if a value stood in neither half, which puts it into the newer one; else 0."""
        cdef int64_t at = 0
        if value == 0:
            if self.zero_in_older or self.zero_in_newer:
                return 0
        else:
            at = _slot(self.newer, value, self.mix)
            if self.newer[at] == value or self.older[_slot(self.older, value, self.mix)] == value:
                return 0
        if self.held == self.room or 2 * self.held + 2 > self.newer.shape[0]:
            with gil:
                self.make_room()
            return self.put(value)  # now there is room
        if value == 0:
            self.zero_in_newer = 1
        else:
            self.newer[at] = value
        self.held += 1
        return 1

    cdef int make_room(self) except -1:
        """Forgets the older half where the newer one is full; else gives that one a larger table."""
        cdef uint64_t[::1] values = self.newer
        cdef int64_t i
        if self.held == self.room:
            self.newer = self.table_of(FEWEST_SLOTS)
            self.older = values
            self.zero_in_older, self.zero_in_newer, self.held = self.zero_in_newer, 0, 0
            self.forgotten += 1
            return 0
        self.newer = self.table_of(2 * values.shape[0])
        for i in range(values.shape[0]):
            if values[i] != 0:
                self.newer[_slot(self.newer, values[i], self.mix)] = values[i]
        return 0


cdef class GroupRows:
    """Finds, makes and counts groups in the columns of a `GroupTable` of observe/tables.py."""

    cdef uint64_t[4] salts
    cdef uint64_t mix
    cdef uint64_t[::1] table, serial
    cdef int64_t[::1] numbers, free, first_ns, last_ns, over_ns
    cdef int64_t[:, ::1] counts
    cdef readonly int64_t count, left, made

    def __init__(self, const uint64_t[::1] salts, uint64_t mix):
        """
        Args:
            salts: of `mixed`, shape (4,).
            mix: an odd number that nobody can guess.
        """
        self.salts = [salts[0], salts[1], salts[2], salts[3]]
        self.mix = mix

    def hold_table(self, uint64_t[::1] table, int64_t[::1] numbers, const uint64_t[::1] keys,
                   const int64_t[::1] groups):
        """Takes another table of 2^k keys, with the group in each slot (-1: none), and fills it."""
        cdef int64_t i, at
        self.table, self.numbers, self.count = table, numbers, keys.shape[0]
        for i in range(keys.shape[0]):
            at = self.slot(keys[i])
            self.table[at], self.numbers[at] = keys[i], groups[i]

    def hold_columns(self, int64_t[:, ::1] counts, uint64_t[::1] serial, int64_t[::1] first_ns, int64_t[::1] last_ns,
                     int64_t[::1] over_ns, int64_t[::1] free, int64_t left):
        """Takes other columns of the groups. The first `left` of `free` are numbers that no group has."""
        self.counts, self.serial, self.free, self.left = counts, serial, free, left
        self.first_ns, self.last_ns, self.over_ns = first_ns, last_ns, over_ns

    cdef inline void ask_for(self, uint64_t key) noexcept nogil:
        """Fetches the memory where a key stands: it comes while others are looked up."""
        cdef int64_t at = <int64_t>((key * self.mix) >> 20) & (self.table.shape[0] - 1)
        prefetch(&self.table[at])
        prefetch(&self.numbers[at])

    cdef int64_t slot(self, uint64_t key) except -1 nogil:
        """Where a key stands, or would: there is a free slot."""
        cdef int64_t mask = self.table.shape[0] - 1, at = <int64_t>((key * self.mix) >> 20) & mask
        while self.numbers[at] != NO_GROUP and self.table[at] != key:
            at = (at + 1) & mask
        return at

    cdef int64_t find(self, uint64_t key, int64_t most) except -2 nogil:
        """The group of a key: made where there is none, unless there are `most`; NO_GROUP then."""
        cdef int64_t at = self.slot(key), group = self.numbers[at], field
        if group != NO_GROUP or self.count >= most:
            return group
        group = self.free[self.left - 1]
        for field in range(self.counts.shape[1]):
            self.counts[group, field] = 0
        self.first_ns[group], self.last_ns[group], self.over_ns[group] = 1LL << 62, -(1LL << 62), -(1LL << 62)
        self.made += 1
        self.count += 1
        self.left -= 1
        self.serial[group] = self.made
        self.table[at], self.numbers[at] = key, group
        return group

    def place(self, const uint64_t[:, :] columns, int64_t key, const int64_t[::1] at,
              const uint64_t[::1] certain, const uint64_t[::1] offered, tuple offers, int64_t most,
              int64_t[::1] groups, int64_t[::1] new, uint64_t[::1] bits):
        """Finds the groups of rows up to the first whose group would be one too many: `GroupCounts.place`.

        The table must have room for as many groups more as there are rows, or as `most` allows.

        Args:
            columns: of all rows; `key`: the one that tells groups apart.
            at: the rows that are meant, shape (n,).
            certain, offered: fields, as bits, that each of all rows adds to, and that it may add to.
            offers: (set, column, fields): rows whose value is new to their group add to those fields they offer.
            most: of groups.
            groups, bits: take the group of each row, and the fields that it adds to.
            new: takes the positions in `at` that made groups.

        Returns:
            (rows that were placed, groups that were made).
        """
        cdef int64_t i, start, stop, column, made, begun = 0, placed = at.shape[0]
        cdef uint64_t[BLOCK] hashes
        cdef uint64_t fields
        cdef ValueSet values
        with nogil:
            for i in range(at.shape[0]):
                if i + AHEAD < at.shape[0]:
                    self.ask_for(columns[key, at[i + AHEAD]])
                made = self.made
                groups[i] = self.find(columns[key, at[i]], most)
                if groups[i] == NO_GROUP:
                    placed = i
                    break
                bits[i] = certain[at[i]]
                if self.made > made:
                    new[begun] = i
                    begun += 1
        for values, column, fields in offers:
            with nogil:
                stop = 0
                while stop < placed:
                    start, stop = stop, min(stop + BLOCK, placed)
                    for i in range(start, stop):
                        if offered[at[i]] & fields:
                            hashes[i - start] = _mixed_two(self.salts, self.serial[groups[i]], columns[column, at[i]])
                            values.ask_for(hashes[i - start])
                    for i in range(start, stop):
                        if offered[at[i]] & fields and values.put(hashes[i - start]):
                            bits[i] |= offered[at[i]] & fields
        return placed, begun

    def add(self, const int64_t[::1] at, const int64_t[::1] groups, const uint64_t[::1] bits,
            const int64_t[::1] first_ns, const int64_t[::1] last_ns, const int64_t[::1] over_ns,
            const uint64_t[::1] notable, uint64_t timeless, int64_t start, int64_t[::1] rows, int64_t[:, ::1] shown):
        """Counts rows of groups, and shows the groups where a count becomes notable: `GroupCounts.count`.

        Args:
            at, groups, bits: see `place`; `first_ns`, `last_ns`, `over_ns`: times of all rows.
            notable: by field, the counts up to 63 that are, as bits; 0: none is, all bits: every one is.
            timeless: rows that add to one of these fields have no times.
            start: the position in `at` to begin with.
            rows: takes the positions of rows that are shown, as many as there is room for.
            shown: takes the counts, and the first and the last time, of their groups right after them.

        Returns:
            (the position to go on with, how many are shown).
        """
        cdef int64_t i, group, field, fields = self.counts.shape[1], found = 0
        cdef uint64_t left
        cdef bint noted
        with nogil:
            for i in range(start, at.shape[0]):
                if found == rows.shape[0]:
                    with gil:
                        return i, found
                group, left, field, noted = groups[i], bits[i], 0, False
                while left:
                    if left & 1:
                        self.counts[group, field] += 1
                        noted = noted or _is_notable(self.counts[group, field], notable[field])
                    left >>= 1
                    field += 1
                if not bits[i] & timeless:
                    self.first_ns[group] = min(self.first_ns[group], first_ns[at[i]])
                    self.last_ns[group] = max(self.last_ns[group], last_ns[at[i]])
                    self.over_ns[group] = max(self.over_ns[group], over_ns[at[i]])
                if noted:
                    rows[found] = i
                    shown[found, :fields] = self.counts[group]
                    shown[found, fields], shown[found, fields + 1] = self.first_ns[group], self.last_ns[group]
                    found += 1
        return at.shape[0], found


cdef inline bint _is_notable(int64_t count, uint64_t notable) noexcept nogil:
    """Whether a count is among those up to 63, or, where some are, is 100, 1,000 ... 10^11."""
    cdef int64_t step = 100, last = 100_000_000_000
    if notable == 0 or ~notable == 0:
        return notable != 0
    if count < 64:
        return notable >> count & 1
    while step < count and step < last:
        step *= 10
    return step == count
