# Stream chunks: made of the segments of a batch, and read for the first bytes of a conversation.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy

cdef enum:
    SERVER_SIDE = 1


cdef class Chunks:
    """Makes and reads records of the class StreamChunk."""

    cdef Layout layout
    cdef Py_ssize_t side, offset, data, time_ns, packet, starts, packets, times

    def __init__(self, record):
        layout = self.layout = Layout(record)
        self.side, self.offset, self.data = layout.place("side"), layout.place("offset"), layout.place("data")
        self.time_ns, self.packet = layout.place("time_ns"), layout.place("packet")
        self.starts, self.packets, self.times = layout.place("starts"), layout.place("packets"), layout.place("times")

    def of_segments(self, const uint8_t[::1] buffer, const int64_t[::1] at, const int64_t[::1] flow,
                    const uint8_t[::1] side, const uint8_t[::1] stream, const int64_t[::1] offset,
                    const int64_t[:] payload, const int64_t[:] captured, const int64_t[:] number,
                    const int64_t[:] time_ns, int64_t[::1] first, int64_t[::1] size, const uint8_t[::1] late=None):
        """Chunks of the segments at some positions: one for each run of one side (`Assembler._by_slices`).

        Args:
            at: positions in the batch, shape (n,); so are the next four. Segments of a flow stand together.
            stream: 0 for datagrams, each of which is a chunk of its own.
            payload, captured, number, time_ns: columns of the batch.
            first, size: take the place in `at` of the first segment of each flow, and the bytes of the flow.
            late: by the numbers in `flow`, whose chunks are to be made when they are asked for.

        Returns:
            For each flow a list of chunks, or who makes it (`LateChunks`).

        Raises:
            IndexError: a payload does not lie in the buffer, or a position not in the batch.
        """
        cdef int64_t count = at.shape[0], start = 0, stop, total
        cdef list flows = []
        cdef _Segments segments = _Segments(self)
        cdef LateChunks waiting
        segments.buffer, segments.at, segments.side, segments.stream = buffer, at, side, stream
        segments.offset, segments.payload, segments.captured = offset, payload, captured
        segments.number, segments.time_ns = number, time_ns
        while start < count:
            stop, total = start, 0
            while stop < count and flow[stop] == flow[start]:
                total += captured[at[stop]]
                stop += 1
            first[len(flows)], size[len(flows)] = start, total
            if late is not None and late[flow[start]]:
                waiting = LateChunks.__new__(LateChunks)
                waiting.segments, waiting.start, waiting.stop = segments, start, stop
                flows.append(waiting)
            else:
                flows.append(segments.chunks_of(start, stop))
            start = stop
        return flows

    def first_bytes(self, list pieces, gap, tuple data, list ended, list turns, Py_ssize_t limit,
                    Py_ssize_t turn_limit):
        """`Prefix.add` for all chunks among the pieces of a stream; what lies behind a gap is left out.

        Args:
            gap: the class of records of missing bytes.
            data: a bytearray for each side, of which `ended` says that it takes no more.
            turns: sides and how much they said in turn.

        Returns:
            The frame number of the first chunk of the server; None where there is none.
        """
        cdef object packet = None, piece, said
        cdef Py_ssize_t side
        for piece in pieces:
            if type(piece) is not self.layout.record:
                if type(piece) is gap:
                    ended[piece.side] = True
                continue
            side = self.layout.read(piece, self.side)
            said = self.layout.read(piece, self.data)
            if packet is None and side == SERVER_SIDE:
                packet = self.layout.read(piece, self.packet)
            add_first(side, <bytes?>said, data, ended, turns, limit, turn_limit)
        return packet

    def longest(self, list pieces):
        """The bytes of the longest chunk among the pieces; 0 where there is none."""
        cdef Py_ssize_t most = 0
        for piece in pieces:
            if type(piece) is self.layout.record:
                most = max(most, len(<bytes?>self.layout.read(piece, self.data)))
        return most


cdef int add_first(Py_ssize_t side, bytes said, tuple data, list ended, list turns, Py_ssize_t limit,
                   Py_ssize_t turn_limit) except -1:
    """Adds what a side said to the first bytes of a conversation, as far as there is room (`Prefix.add`)."""
    cdef Py_ssize_t room
    cdef bytearray kept
    if turns and (<tuple?>turns[len(turns) - 1])[0] == side:
        turns[len(turns) - 1] = (side, (<tuple>turns[len(turns) - 1])[1] + len(said))
    elif len(turns) < turn_limit:
        turns.append((side, len(said)))
    if not ended[side]:
        kept = data[side]
        room = limit - len(kept)
        if len(said) < room:
            kept += said
        else:
            kept += said[:max(room, 0)]
            ended[side] = True
    return 0


@cython.final
cdef class _Segments:
    """The segments of a batch, sorted by flow (see `Chunks.of_segments`)."""

    cdef Chunks chunks
    cdef const uint8_t[::1] buffer, side, stream
    cdef const int64_t[::1] at, offset
    cdef const int64_t[:] payload, captured, number, time_ns

    def __init__(self, Chunks chunks):
        self.chunks = chunks

    cdef int64_t run_end(self, int64_t start, int64_t end) except -1:
        """Where what the side of a segment says in a row ends."""
        cdef int64_t stop = start + 1
        while stop < end and self.side[stop] == self.side[start] and self.stream[stop]:
            stop += 1
        return stop

    cdef list chunks_of(self, int64_t start, int64_t end):
        """The chunks of one flow, whose segments stand there."""
        cdef list mine = []
        cdef int64_t stop
        while start < end:
            stop = self.run_end(start, end)
            mine.append(self.made(start, stop))
            start = stop
        return mine

    cdef object made(self, int64_t start, int64_t stop):
        """The chunk of some segments of one side."""
        cdef Chunks places = self.chunks
        cdef Layout layout = places.layout
        cdef int64_t here = self.at[start]
        cdef bytes data = PyBytes_FromStringAndSize(NULL, self.size_of(start, stop))
        self.copy(start, stop, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        made = layout.empty()
        layout.write(made, places.side, self.side[start])
        layout.write(made, places.offset, self.offset[start])
        layout.write(made, places.data, data)
        layout.write(made, places.time_ns, self.time_ns[here])
        layout.write(made, places.packet, self.number[here])
        self.tell_further(made, start, stop)
        return made

    cdef Py_ssize_t size_of(self, int64_t start, int64_t stop) except -1:
        """The bytes of some segments; IndexError where one lies outside of the buffer."""
        cdef int64_t whole = self.buffer.shape[0], total = 0, low, size, i
        for i in range(start, stop):
            low, size = self.payload[self.at[i]], self.captured[self.at[i]]
            if low < 0 or size < 0 or size > whole or low > whole - size:
                raise IndexError("a payload lies outside of the buffer")
            total += size
        return total

    cdef int copy(self, int64_t start, int64_t stop, char *to, Py_ssize_t most) except -1:
        """Copies the bytes of some segments that `size_of` has seen, one after the other, up to so many."""
        cdef int64_t i
        cdef Py_ssize_t size
        for i in range(start, stop):
            size = min(self.captured[self.at[i]], most)
            if size > 0:
                memcpy(to, &self.buffer[self.payload[self.at[i]]], size)
                to += size
                most -= size
        return 0

    cdef int tell_further(self, made, int64_t start, int64_t stop) except -1:
        """Place, frame number and time of each segment of a chunk behind the first."""
        cdef object starts = None, packets = None, times = None
        cdef int64_t place = 0, i
        if stop - start > 1:
            starts, packets, times = [], [], []
            for i in range(start + 1, stop):
                place += self.captured[self.at[i - 1]]
                (<list>starts).append(place)
                (<list>packets).append(self.number[self.at[i]])
                (<list>times).append(self.time_ns[self.at[i]])
        self.chunks.layout.write(made, self.chunks.starts, starts)
        self.chunks.layout.write(made, self.chunks.packets, packets)
        self.chunks.layout.write(made, self.chunks.times, times)
        return 0


@cython.final
@cython.no_gc
cdef class LateChunks:
    """Makes the chunks of a flow when they are read, if they are: see Talk."""

    cdef _Segments segments
    cdef int64_t start, stop

    def __call__(self):
        """The list of chunks."""
        return self.segments.chunks_of(self.start, self.stop)
