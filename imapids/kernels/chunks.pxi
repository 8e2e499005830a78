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
                    const int64_t[:] time_ns, int64_t[::1] first, int64_t[::1] size):
        """Chunks of the segments at some positions: one for each run of one side (`Assembler._by_slices`).

        Args:
            at: positions in the batch, shape (n,); so are the next four. Segments of a flow stand together.
            stream: 0 for datagrams, each of which is a chunk of its own.
            payload, captured, number, time_ns: columns of the batch.
            first, size: take the place in `at` of the first segment of each flow, and the bytes of the flow.

        Returns:
            A list of chunks for each flow.

        Raises:
            IndexError: a payload does not lie in the buffer.
        """
        cdef int64_t count = at.shape[0], start = 0, stop, each
        cdef list flows = [], mine = []
        while start < count:
            if start == 0 or flow[start] != flow[start - 1]:
                mine = []
                flows.append(mine)
                first[len(flows) - 1], size[len(flows) - 1] = start, 0
            stop = start + 1
            while stop < count and flow[stop] == flow[start] and side[stop] == side[start] and stream[stop]:
                stop += 1
            made = self.layout.empty()
            self.layout.write(made, self.side, side[start])
            self.layout.write(made, self.offset, offset[start])
            self.layout.write(made, self.data, _joined(buffer, at, start, stop, payload, captured))
            self.layout.write(made, self.time_ns, time_ns[at[start]])
            self.layout.write(made, self.packet, number[at[start]])
            self._tell_further(made, at, start, stop, captured, number, time_ns)
            for each in range(start, stop):
                size[len(flows) - 1] += captured[at[each]]
            mine.append(made)
            start = stop
        return flows

    cdef int _tell_further(self, object made, const int64_t[::1] at, int64_t start, int64_t stop,
                           const int64_t[:] captured, const int64_t[:] number, const int64_t[:] time_ns) except -1:
        """Place, frame number and time of each segment of a chunk behind the first."""
        cdef object starts = None, packets = None, times = None
        cdef int64_t place = 0, i
        if stop - start > 1:
            starts, packets, times = [], [], []
            for i in range(start + 1, stop):
                place += captured[at[i - 1]]
                (<list>starts).append(place)
                (<list>packets).append(number[at[i]])
                (<list>times).append(time_ns[at[i]])
        self.layout.write(made, self.starts, starts)
        self.layout.write(made, self.packets, packets)
        self.layout.write(made, self.times, times)
        return 0

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
        cdef Py_ssize_t side, room
        cdef bytearray kept
        for piece in pieces:
            if type(piece) is not self.layout.record:
                if type(piece) is gap:
                    ended[piece.side] = True
                continue
            side = self.layout.read(piece, self.side)
            said = self.layout.read(piece, self.data)
            if packet is None and side == SERVER_SIDE:
                packet = self.layout.read(piece, self.packet)
            if turns and (<tuple?>turns[len(turns) - 1])[0] == side:
                turns[len(turns) - 1] = (side, (<tuple>turns[len(turns) - 1])[1] + len(<bytes?>said))
            elif len(turns) < turn_limit:
                turns.append((side, len(<bytes?>said)))
            if not ended[side]:
                kept = data[side]
                room = limit - len(kept)
                if len(<bytes>said) < room:
                    kept += <bytes>said
                else:
                    kept += (<bytes>said)[:max(room, 0)]
                    ended[side] = True
        return packet

    def longest(self, list pieces):
        """The bytes of the longest chunk among the pieces; 0 where there is none."""
        cdef Py_ssize_t most = 0
        for piece in pieces:
            if type(piece) is self.layout.record:
                most = max(most, len(<bytes?>self.layout.read(piece, self.data)))
        return most


cdef bytes _joined(const uint8_t[::1] buffer, const int64_t[::1] at, int64_t start, int64_t stop,
                   const int64_t[:] payload, const int64_t[:] captured):
    """The payloads of segments as one object."""
    cdef int64_t whole = buffer.shape[0], total = 0, low, size, i
    cdef char* target
    for i in range(start, stop):
        low, size = payload[at[i]], captured[at[i]]
        if low < 0 or size < 0 or size > whole or low > whole - size:
            raise IndexError("a payload lies outside of the buffer")
        total += size
    cdef bytes joined = PyBytes_FromStringAndSize(NULL, total)
    target = PyBytes_AS_STRING(joined)
    for i in range(start, stop):
        size = captured[at[i]]
        if size:
            memcpy(target, &buffer[payload[at[i]]], size)
            target += size
    return joined
