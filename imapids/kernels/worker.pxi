# A thread that does one piece of work at a time, without the interpreter: what it is given is C, and it never takes
# the interpreter's lock. Who gives it work goes on meanwhile, and waits for it later.
#
# It is started when there is first something to do. Threads do not live on in a forked process: there the worker has
# done nothing of what it was given, and the next piece gets a thread of its own.

from libc.stdlib cimport free, malloc
from os import getpid

cdef extern from *:
    """
    #include <pythread.h>
    #ifdef Py_GIL_DISABLED
    #define HAS_GIL 0
    #else
    #define HAS_GIL 1
    #endif
    static int start_thread(void (*work)(void *), void *given) {
        return PyThread_start_new_thread(work, given) != PYTHREAD_INVALID_THREAD_ID;
    }
    """
    ctypedef void *PyThread_type_lock
    int WAIT_LOCK
    int NOWAIT_LOCK
    bint HAS_GIL
    PyThread_type_lock PyThread_allocate_lock()
    void PyThread_free_lock(PyThread_type_lock lock)
    int PyThread_acquire_lock(PyThread_type_lock lock, int how) nogil
    void PyThread_release_lock(PyThread_type_lock lock) nogil
    int start_thread(void (*work)(void *) noexcept nogil, void *given)

ctypedef void (*Work)(void *given) noexcept nogil

cdef struct Bench:  # what the two threads share
    PyThread_type_lock asked  # open: there is something to do
    PyThread_type_lock done  # open: it is done
    Work work  # NULL: the thread is to end
    void *given


cdef void work_on(void *given) noexcept nogil:
    """The thread."""
    cdef Bench *bench = <Bench *>given
    while True:
        PyThread_acquire_lock(bench.asked, WAIT_LOCK)
        if bench.work is NULL:
            break
        bench.work(bench.given)
        PyThread_release_lock(bench.done)
    PyThread_release_lock(bench.done)  # the last word: who hears it frees the bench


@cython.final
cdef class Worker:
    """Does work in a thread of its own."""

    cdef Bench *bench
    cdef long process
    """The one that has the thread."""
    cdef bint busy

    def __dealloc__(self):
        self.end()

    cdef int ask(self, Work work, void *given) except -1:
        """Has something done, and returns; 0 where nobody can do it now. `given` must last until `wait` returns."""
        if not HAS_GIL or self.busy or not (self.is_alive() or self.begin()):
            return 0
        self.bench.work, self.bench.given, self.busy = work, given, True
        PyThread_release_lock(self.bench.asked)
        return 1

    cdef int wait(self) except -1:
        """Returns when that is done; 0 where it never will be (in a forked process)."""
        if not self.busy:
            return 1
        self.busy = False
        if not self.is_alive():
            return 0
        self.hear()
        return 1

    cdef int end(self) except -1:
        """Ends the thread, when it is done."""
        if not self.is_alive():
            return 0
        if self.busy:
            self.hear()
        self.bench.work, self.busy = NULL, False
        PyThread_release_lock(self.bench.asked)
        self.hear()
        PyThread_free_lock(self.bench.asked)
        PyThread_free_lock(self.bench.done)
        free(self.bench)
        self.bench = NULL
        return 0

    cdef bint is_alive(self) except -1:
        return self.bench is not NULL and self.process == getpid()

    cdef void hear(self) noexcept:
        """Waits for the thread; other threads may have the interpreter meanwhile."""
        cdef PyThread_type_lock done = self.bench.done
        if not PyThread_acquire_lock(done, NOWAIT_LOCK):
            with nogil:
                PyThread_acquire_lock(done, WAIT_LOCK)

    cdef int begin(self) except -1:
        """Starts the thread; 0 where the system gives none. The bench of a thread that a fork left behind is lost."""
        cdef Bench *bench = <Bench *>malloc(sizeof(Bench))
        self.bench = NULL
        if bench is NULL:
            return 0
        bench.work, bench.given = NULL, NULL
        bench.asked, bench.done = PyThread_allocate_lock(), PyThread_allocate_lock()
        if bench.asked is not NULL and bench.done is not NULL:
            PyThread_acquire_lock(bench.asked, WAIT_LOCK)
            PyThread_acquire_lock(bench.done, WAIT_LOCK)
            if start_thread(work_on, bench):
                self.bench, self.process = bench, getpid()
                return 1
        if bench.asked is not NULL:
            PyThread_free_lock(bench.asked)
        if bench.done is not NULL:
            PyThread_free_lock(bench.done)
        free(bench)
        return 0
