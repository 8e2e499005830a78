# What both sides of a conversation said, in turn: the chunks of a stream, or the segments of a batch of which no chunks
# are made. A chunk is a record with six objects in it; nearly all are read once, and nothing else is done with them.

from libc.stdint cimport int64_t
from libc.stdlib cimport free, realloc

cdef enum:
    CHUNK_SIDE, CHUNK_OFFSET, CHUNK_DATA, CHUNK_TIME, CHUNK_PACKET, CHUNK_STARTS, CHUNK_PACKETS, CHUNK_TIMES

_CHUNK_NAMES = ("side", "offset", "data", "time_ns", "packet", "starts", "packets", "times")


cdef struct Said:
    # What one side said in a row. The talk that gave it holds the bytes until it tells of the same side again.
    const char *data
    Py_ssize_t size
    bint of_server
    int64_t offset
    int64_t time_ns, packet  # of the first packet
    int64_t last_packet
    bint several  # packets


@cython.final
cdef class Talk:
    """Tells what was said, by its place in the order; of one update at a time."""

    cdef Layout chunk
    cdef Py_ssize_t count
    cdef list pieces
    """They, or segments: the other is None."""
    cdef _Segments segments
    cdef object client, server
    """The chunks that were told of last."""
    cdef int64_t *begins
    """Where the segments of each place begin, and the last ones end."""
    cdef Py_ssize_t room
    cdef char *joined[2]
    """What several segments of a side hold."""
    cdef Py_ssize_t[2] joined_room

    def __init__(self, Layout chunk not None):
        """`chunk`: has the fields of _CHUNK_NAMES in their order."""
        self.chunk = chunk

    def __dealloc__(self):
        free(self.begins)
        free(self.joined[0])
        free(self.joined[1])

    cdef int begin(self, list pieces) except -1:
        """From now on it is about these pieces."""
        self.end()
        self.count, self.pieces = len(pieces), pieces
        return 0

    cdef int begin_late(self, LateChunks late) except -1:
        """From now on it is about what would be made."""
        cdef int64_t at = late.start
        self.end()
        self.segments = late.segments
        self.mark(0, at)
        while at < late.stop:
            at = self.segments.run_end(at, late.stop)
            self.mark(self.count + 1, at)
            self.count += 1
        return 0

    cdef int mark(self, Py_ssize_t place, int64_t at) except -1:
        cdef int64_t *moved
        if place >= self.room:
            moved = <int64_t *>realloc(self.begins, 2 * (place + 16) * sizeof(int64_t))
            if moved is NULL:
                raise MemoryError
            self.begins, self.room = moved, 2 * (place + 16)
        self.begins[place] = at
        return 0

    cdef int end(self) except -1:
        """Lets go of what it told."""
        self.count = 0
        self.pieces = self.segments = self.client = self.server = None
        return 0

    cdef int check(self, Py_ssize_t place) except -1:
        if not 0 <= place < self.count:
            raise IndexError("nothing was said there")
        return 0

    cdef bint said(self, Py_ssize_t place, Py_ssize_t most, Said *said) except -1:
        """What was said there; false where it is no chunk, or where segments hold more than `most` bytes."""
        self.check(place)
        if self.pieces is None:
            return self.said_in(self.begins[place], self.begins[place + 1], most, said)
        return self.said_by(self.pieces[place], said)

    cdef bint said_by(self, piece, Said *said) except -1:
        """What a piece says."""
        cdef Layout chunk = self.chunk
        if type(piece) is not chunk.record:
            return False
        data = chunk.read(piece, CHUNK_DATA)
        if type(data) is not bytes:
            return False
        said.data, said.size = PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)
        said.of_server = <Py_ssize_t>chunk.read(piece, CHUNK_SIDE) != 0
        if said.of_server:
            self.server = piece
        else:
            self.client = piece
        said.offset, said.time_ns = chunk.read(piece, CHUNK_OFFSET), chunk.read(piece, CHUNK_TIME)
        said.packet = said.last_packet = chunk.read(piece, CHUNK_PACKET)
        packets = chunk.read(piece, CHUNK_PACKETS)
        said.several = packets is not None
        if said.several:
            said.last_packet = (<list?>packets)[len(<list>packets) - 1]
        return True

    cdef bint said_in(self, int64_t start, int64_t stop, Py_ssize_t most, Said *said) except -1:
        """What segments hold."""
        cdef _Segments segments = self.segments
        cdef int64_t first = segments.at[start]
        cdef int side
        said.size = segments.size_of(start, stop)
        if said.size > most:
            return False
        said.of_server = segments.side[start] != 0
        side = 1 if said.of_server else 0
        if said.size == 0:
            said.data = b""
        elif stop == start + 1:
            said.data = <const char *>&segments.buffer[segments.payload[first]]
        else:
            self.make_room(side, said.size)
            segments.copy(start, stop, self.joined[side], said.size)
            said.data = self.joined[side]
        said.offset, said.time_ns, said.packet = segments.offset[start], segments.time_ns[first], segments.number[first]
        said.last_packet, said.several = segments.number[segments.at[stop - 1]], stop > start + 1
        return True

    cdef int make_room(self, int side, Py_ssize_t size) except -1:
        cdef char *moved
        if size > self.joined_room[side]:
            moved = <char *>realloc(self.joined[side], 2 * size)
            if moved is NULL:
                raise MemoryError
            self.joined[side], self.joined_room[side] = moved, 2 * size
        return 0

    cdef int locate(self, Py_ssize_t place, Py_ssize_t position, Said *said) except -1:
        """Puts the packet that carried data[position] in the place of the first one (StreamChunk.locate)."""
        cdef int64_t i, begin = 0
        cdef _Segments segments = self.segments
        self.check(place)
        if self.pieces is not None:
            return self.locate_in(self.pieces[place], position, said)
        for i in range(self.begins[place] + 1, self.begins[place + 1]):
            begin += segments.captured[segments.at[i - 1]]
            if position < begin:
                break
            said.packet, said.time_ns = segments.number[segments.at[i]], segments.time_ns[segments.at[i]]
        return 0

    cdef int locate_in(self, piece, Py_ssize_t position, Said *said) except -1:
        starts, packets, times = [self.chunk.read(piece, at) for at in (CHUNK_STARTS, CHUNK_PACKETS, CHUNK_TIMES)]
        if starts is None or packets is None or times is None:
            return 0
        cdef list begins = <list?>starts
        cdef Py_ssize_t low = 0, high = len(begins), middle
        while low < high:
            middle = (low + high) // 2
            if position < <Py_ssize_t>begins[middle]:
                high = middle
            else:
                low = middle + 1
        if low:
            said.packet, said.time_ns = (<list?>packets)[low - 1], (<list?>times)[low - 1]
        return 0

    cdef object chunk_at(self, Py_ssize_t place):
        """The chunk that stands there, or is made of what stands there."""
        self.check(place)
        if self.pieces is not None:
            return self.pieces[place]
        return self.segments.made(self.begins[place], self.begins[place + 1])

    cdef list rest(self, Py_ssize_t place):
        """The pieces from there on."""
        if self.pieces is not None:
            return self.pieces[place:]
        return self.segments.chunks_of(self.begins[place], self.begins[self.count]) if place < self.count else []

    cdef Py_ssize_t end_at(self, Py_ssize_t place) except -1:
        """Where the stream of its side stands behind what was said there."""
        cdef Py_ssize_t size
        cdef int side
        size = self.size_at(place, &side)
        if self.pieces is None:
            return self.segments.offset[self.begins[place]] + size
        return <Py_ssize_t>self.chunk.read(self.pieces[place], CHUNK_OFFSET) + size

    cdef Py_ssize_t size_at(self, Py_ssize_t place, int *side) except -1:
        """The bytes that were said there, and the side; TypeError where it is no chunk."""
        self.check(place)
        if self.pieces is None:
            side[0] = 1 if self.segments.side[self.begins[place]] else 0
            return self.segments.size_of(self.begins[place], self.begins[place + 1])
        piece = self.pieces[place]
        self.chunk.check(piece)
        side[0] = 1 if self.chunk.read(piece, CHUNK_SIDE) else 0
        return len(<bytes?>self.chunk.read(piece, CHUNK_DATA))

    cdef int copy(self, Py_ssize_t place, char *to, Py_ssize_t size) except -1:
        """Copies the first bytes of what was said there: not more than `size_at` gave."""
        self.check(place)
        if self.pieces is None:
            return self.segments.copy(self.begins[place], self.begins[place + 1], to, size)
        data = self.chunk.read(self.pieces[place], CHUNK_DATA)
        if size > len(<bytes?>data):
            raise IndexError("less was said")
        memcpy(to, PyBytes_AS_STRING(data), size)
        return 0

    cdef tuple first_bytes(self, Py_ssize_t count, Py_ssize_t room_client, Py_ssize_t room_server):
        """What at the first places there is room for: (sizes and sides, bytes) (plain.first_bytes_of)."""
        cdef Py_ssize_t place, size, total = 0, some = 0, told = 0
        cdef Py_ssize_t[2] room
        cdef int side
        cdef int64_t *marks
        cdef char *to
        room[0], room[1] = room_client, room_server
        cdef bytes sizes = PyBytes_FromStringAndSize(NULL, count * <Py_ssize_t>sizeof(int64_t))
        marks = <int64_t *>PyBytes_AS_STRING(sizes)
        for place in range(count):
            if room[0] <= 0 and room[1] <= 0:
                break
            size = self.size_at(place, &side)
            if room[side] > 0:
                marks[some] = min(size, room[side]) << 1 | side
                total += marks[some] >> 1
                some += 1
                room[side] -= size
        cdef bytes data = PyBytes_FromStringAndSize(NULL, total)
        to = PyBytes_AS_STRING(data)
        room[0], room[1] = room_client, room_server
        for place in range(count):
            if told == some:
                break
            size = self.size_at(place, &side)
            if room[side] > 0:
                self.copy(place, to, marks[told] >> 1)
                to += marks[told] >> 1
                told += 1
                room[side] -= size
        return sizes if some == count else sizes[:some * <Py_ssize_t>sizeof(int64_t)], data
