# EVE JSON lines, encoded in a thread while the caller does something else with the same events.
#
# The thread reads Python objects without the interpreter's lock. That is sound, because for as long as it runs
# - nothing that it reads can go away: the job holds the list, the list its events, and they what they are made of;
# - nothing that it reads is written: who hands over the events says that they stay as they are until the lines are
#   asked for (run/local.py, Sink.write). Reference counts, which all threads with the lock change, it never looks at;
#   the hash that a text remembers and its mark of being interned it does not read either;
# - it makes, keeps and drops no object, and raises nothing: its lines go into memory of this job, and a line that needs
#   Python is left, to be written at its place by who asks for the lines;
# - where it is given a file, it writes lines to it until one is left or the system refuses: the rest is for who asks for
#   the lines, who meets the same;
# - what it knows of classes (plans, parts of lines) was copied for it before, or is never changed once it is made.

from cpython.buffer cimport PyBuffer_FillInfo

cdef extern from *:
    """
    #ifdef _WIN32
    static Py_ssize_t write_some(int file, const void *data, size_t size) { return -1; }
    #else
    #include <unistd.h>
    static Py_ssize_t write_some(int file, const void *data, size_t size) { return write(file, data, size); }
    #endif
    """
    Py_ssize_t write_some(int file, const void *data, size_t size) nogil

cdef enum:
    MOST_LINES_BYTES = 33_554_432  # lines beyond are left to who asks for them
    PIECE = 1_000
    WRITTEN_AT_ONCE = 262_144  # bytes, at least: the cache of a processor holds them


cdef struct Left:
    Py_ssize_t item  # that Python writes
    Py_ssize_t at  # behind this byte of the other lines


cdef void write_ahead(void *lines) noexcept nogil:
    (<LinesAhead>lines).write()


@cython.final
@cython.no_gc_clear  # the collector takes nothing away before __dealloc__ has waited
cdef class LinesAhead:
    """Encodes the lines of a list of events while the caller goes on: `start`, then `pieces`."""

    cdef Lines lines
    cdef Worker worker
    cdef JsonText out
    cdef PyObject *items
    """The list that the worker reads, held, and `lines` with it, in a way that the collector does not see; or NULL."""
    cdef Left *left
    cdef Py_ssize_t left_room, left_count, done
    cdef int file
    """Where the worker may write to; -1: nowhere, or not any more."""
    cdef Py_ssize_t sent
    """Bytes of `out` that are written there already."""
    cdef Py_ssize_t views
    cdef tuple origins
    """Those that were known at the start."""

    def __init__(self, Lines lines not None):
        """
        Args:
            lines: encodes them; it may do others at the same time.
        """
        self.lines, self.worker = lines, Worker()
        self.out = JsonText(0, lines.plans, lines.encode_json, most=MOST_LINES_BYTES)

    def __dealloc__(self):
        if self.worker is not None:
            self.worker.end()
        self.release()
        free(self.left)

    def start(self, list items not None, int file=-1):
        """Begins with the lines of events that nobody changes until `pieces` has given them.

        Args:
            file: descriptor of an open file to which the first lines may be written before they are asked for. It is
                an ordinary one: who asks for lines waits for it as for the lines, and no signal ends that.

        Returns:
            whether it could begin; False where the first item is no event, where the former pieces are still in use,
            and where there is no thread.
        """
        if self.items is not NULL:
            raise ValueError("the lines of the former items were not asked for")
        if self.views or not items or type(items[0]) is not self.lines.event.layout.record:
            return False
        self.out.know()
        self.out.used, self.out.full = 0, False
        self.look(items[0])
        self.left_count = self.done = self.sent = 0
        self.file = file
        Py_INCREF(items)
        Py_INCREF(self.lines)
        self.items = <PyObject *>items
        if self.worker.ask(write_ahead, <void *>self):
            return True
        self.release()
        return False

    def pieces(self):
        """Waits, and gives the lines in order, but for what the file has: bytes, and views of what is overwritten when
        the next items come."""
        cdef Py_ssize_t begin, place, more
        cdef list items
        if self.items is NULL:
            return
        items = <list>self.items
        if not self.worker.wait():
            self.forget()
        self.release()
        begin = self.sent
        view = memoryview(self) if self.out.used else None
        for place in range(self.left_count):
            if self.left[place].at > begin:
                yield view[begin:self.left[place].at]
                begin = self.left[place].at
            yield self.lines.encode((items[self.left[place].item],))
        if self.out.used > begin:
            yield view[begin:self.out.used]
        for more in range(self.done, len(items), PIECE):
            yield self.lines.encode(items[more : more + PIECE])

    def close(self):
        """Ends the thread; lines that were not asked for are given up."""
        self.worker.end()
        self.release()

    cdef int look(self, item) except -1:
        """Learns where the flows of these events come from; heads are not kept, for most are of a few lines."""
        try:
            self.lines.prepare(self.out, item)
        except Exception:
            pass  # the line is left, and whoever writes it meets the same
        self.origins = self.lines.origins
        return 0

    cdef void release(self) noexcept:
        """Lets go of what the worker has read."""
        cdef PyObject *items = self.items
        self.items = NULL
        if items is not NULL:
            Py_XDECREF(items)
            Py_XDECREF(<PyObject *>self.lines)

    cdef void forget(self) noexcept:
        """Nothing was done, and memory is as a thread of another process left it in the middle of its work."""
        self.left, self.left_room, self.left_count, self.done, self.sent = NULL, 0, 0, 0, 0
        self.out.begin, self.out.room, self.out.used = NULL, 0, 0

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.out.begin, self.out.used, 1, flags)
        self.views += 1

    def __releasebuffer__(self, Py_buffer *view):
        self.views -= 1

    cdef void write(self) noexcept nogil:
        """In the thread: the lines of all items, as far as there is room."""
        cdef Py_ssize_t at, start
        cdef PyObject *item
        cdef int good
        for at in range(list_size(self.items)):
            item = list_item(self.items, at)
            start = self.out.used
            good = 0
            if Py_TYPE(item) is <PyTypeObject *><PyObject *>self.lines.event.layout.record:
                good = (self.lines.event_line(self.out, item, <PyObject *>self.origins)
                        and self.lines.is_good(self.out, start))
            if not good:
                self.out.used = start
                if self.out.full or not self.leave(at, start):
                    break
            self.done = at + 1
            if self.out.used - self.sent >= WRITTEN_AT_ONCE:
                self.write_out()
        self.write_out()

    cdef void write_out(self) noexcept nogil:
        """Writes to the file what stands before the first line that was left; all that, or nothing any more."""
        cdef Py_ssize_t size
        if self.file < 0 or self.left_count:
            return
        while self.sent < self.out.used:
            size = write_some(self.file, self.out.begin + self.sent, self.out.used - self.sent)
            if size <= 0:
                self.file = -1
                return
            self.sent += size
        self.out.used = self.sent = 0

    cdef int leave(self, Py_ssize_t item, Py_ssize_t at) noexcept nogil:
        """Leaves a line to who asks for them; 0 where there is no memory to remember it."""
        cdef Py_ssize_t room = 2 * self.left_room + 64
        cdef Left *moved
        if self.left_count == self.left_room:
            moved = <Left *>realloc(self.left, room * sizeof(Left))
            if moved is NULL:
                return 0
            self.left, self.left_room = moved, room
        self.left[self.left_count].item, self.left[self.left_count].at = item, at
        self.left_count += 1
        return 1
