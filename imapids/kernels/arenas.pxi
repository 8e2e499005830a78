# Where Python's small objects live: arenas of a megabyte, here on the large pages of the processor.
#
# The records of a batch are some hundred thousand objects in tens of megabytes, made, read by one stage after the other
# and freed. On pages of 4 KiB most steps to the next object ask for the place of another page first, which costs more
# in a virtual machine than the step itself. The kernel gives pages of 2 MiB to who asks for them (madvise(2),
# MADV_HUGEPAGE), and ordinary ones where it has none or does not know them.
#
# Python asks for an arena with the interpreter's lock held, and in this process there is one interpreter.

from libc.stdint cimport uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport realloc

cdef extern from *:
    """
    #if defined(__linux__)
    #include <sys/mman.h>
    #endif
    #if defined(__linux__) && defined(MADV_HUGEPAGE) && !defined(Py_GIL_DISABLED)
    #define HAS_LARGE_PAGES 1
    static char *map_memory(size_t size) {
        void *begin = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        return begin == MAP_FAILED ? NULL : (char *)begin;
    }
    static void unmap_memory(char *begin, size_t size) { if (size) munmap(begin, size); }
    static void wish_large_pages(char *begin, size_t size) { madvise(begin, size, MADV_HUGEPAGE); }
    static void give_pages_back(char *begin, size_t size) { madvise(begin, size, MADV_DONTNEED); }
    #else
    #define HAS_LARGE_PAGES 0
    static char *map_memory(size_t size) { return NULL; }
    static void unmap_memory(char *begin, size_t size) {}
    static void wish_large_pages(char *begin, size_t size) {}
    static void give_pages_back(char *begin, size_t size) {}
    #endif
    """
    bint HAS_LARGE_PAGES
    char *map_memory(size_t size)
    void unmap_memory(char *begin, size_t size)
    void wish_large_pages(char *begin, size_t size)
    void give_pages_back(char *begin, size_t size)

cdef extern from "Python.h":
    ctypedef struct PyObjectArenaAllocator:
        void *ctx
        void *(*alloc)(void *ctx, size_t size)
        void (*free)(void *ctx, void *begin, size_t size)
    void PyObject_GetArenaAllocator(PyObjectArenaAllocator *allocator)
    void PyObject_SetArenaAllocator(PyObjectArenaAllocator *allocator)

cdef enum:
    LARGE_PAGE = 2_097_152
    TRACT = 8_388_608  # bytes asked for at once
    LEAST_ARENA = 262_144  # the interpreter asks this allocator for the frames of calls, too: those are smaller
    MOST_TRACTS = 4_096  # 32 GiB; beyond, arenas are as Python makes them

cdef struct Tract:
    char *begin
    uint32_t free  # a bit for each arena that nobody uses, the first one lowest

cdef struct Arenas:
    PyObjectArenaAllocator former
    bint used
    size_t size  # of an arena; 0: none was asked for yet
    Tract *tracts
    Py_ssize_t count

cdef Arenas arenas


cdef void *make_arena(void *ctx, size_t size) noexcept:
    cdef Py_ssize_t place
    cdef int at = 0
    if size < LEAST_ARENA or LARGE_PAGE % size or (arenas.size and size != arenas.size):
        return arenas.former.alloc(arenas.former.ctx, size)
    arenas.size = size
    for place in range(arenas.count):
        if arenas.tracts[place].free:
            break
    else:
        place = arenas.count
        if not begin_tract():
            return arenas.former.alloc(arenas.former.ctx, size)
    while not arenas.tracts[place].free >> at & 1:
        at += 1
    arenas.tracts[place].free ^= <uint32_t>1 << at
    return arenas.tracts[place].begin + at * size


cdef bint begin_tract() noexcept:
    """Maps memory that begins where a large page does; false where there is none."""
    cdef Tract *tracts
    cdef char *begin
    cdef size_t before
    if arenas.count == MOST_TRACTS:
        return False
    tracts = <Tract *>realloc(arenas.tracts, (arenas.count + 1) * sizeof(Tract))
    if tracts is NULL:
        return False
    arenas.tracts = tracts
    begin = map_memory(TRACT + LARGE_PAGE)
    if begin is NULL:
        return False
    before = -<uintptr_t>begin % LARGE_PAGE
    unmap_memory(begin, before)
    unmap_memory(begin + before + TRACT, LARGE_PAGE - before)
    wish_large_pages(begin + before, TRACT)
    tracts[arenas.count].begin = begin + before
    tracts[arenas.count].free = <uint32_t>((<uint64_t>1 << (TRACT // arenas.size)) - 1)
    arenas.count += 1
    return True


cdef void free_arena(void *ctx, void *begin, size_t size) noexcept:
    """Keeps an arena for the next one who asks; gives the large page back when nobody uses any arena of it."""
    cdef Py_ssize_t place, offset
    cdef uint32_t page
    for place in range(arenas.count if size == arenas.size else 0):
        offset = <char *>begin - arenas.tracts[place].begin
        if 0 <= offset < TRACT:
            arenas.tracts[place].free |= <uint32_t>1 << (offset // size)
            offset -= offset % LARGE_PAGE
            page = <uint32_t>(((<uint64_t>1 << (LARGE_PAGE // size)) - 1) << (offset // size))
            if arenas.tracts[place].free & page == page:
                give_pages_back(arenas.tracts[place].begin + offset, LARGE_PAGE)
            return
    arenas.former.free(arenas.former.ctx, begin, size)


def use_large_pages():
    """Has the objects that this process makes from now on placed on large pages; false where that cannot be.

    For a process that is ours: what it holds of memory is rounded up to 2 MiB.
    """
    cdef PyObjectArenaAllocator allocator
    if not HAS_LARGE_PAGES:
        return False
    if not arenas.used:
        PyObject_GetArenaAllocator(&arenas.former)
        allocator.ctx, allocator.alloc, allocator.free = NULL, make_arena, free_arena
        PyObject_SetArenaAllocator(&allocator)
        arenas.used = True
    return True


def arenas_on_large_pages():
    """(arenas that hold objects, arenas that could)."""
    cdef Py_ssize_t place, at, free = 0, all_of_one
    if not arenas.size:
        return 0, 0
    all_of_one = TRACT // arenas.size
    for place in range(arenas.count):
        for at in range(all_of_one):
            free += arenas.tracts[place].free >> at & 1
    return arenas.count * all_of_one - free, arenas.count * all_of_one
