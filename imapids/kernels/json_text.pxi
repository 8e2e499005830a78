# JSON of records, written into one growing buffer: byte for byte what msgspec's encoder writes.
#
# What is written here is what lines are made of: ASCII text, whole numbers, lists, dicts and records of them. All else
# is the other way's: a method that meets it returns 0, and its caller gives back what was written and asks Python.
#
# The methods that write (`nogil`) may run in a thread that does not hold the interpreter's lock (ahead.pxi says why
# that is sound). So they read objects in place, by their memory: they count no reference, make no object, raise nothing
# and run no Python code, and nothing that they look at can go away or change under them.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy

cdef extern from *:
    """
    #include <string.h>
    #if PY_VERSION_HEX >= 0x030C0000
    #define IS_COMPACT_ASCII(text) PyUnicode_IS_COMPACT_ASCII(text)
    #else
    #define IS_COMPACT_ASCII(text) (PyUnicode_IS_READY(text) && PyUnicode_IS_COMPACT_ASCII(text))
    #endif
    #define ONES 0x0101010101010101ULL
    /* Whether one of eight ASCII bytes is a quote, a backslash or a control byte. */
    #define TO_ESCAPE(word) \
        ((((word) - 0x20 * ONES) | (((word) ^ 0x22 * ONES) - ONES) | (((word) ^ 0x5c * ONES) - ONES)) & 0x80 * ONES)
    /* Copies ASCII up to the first byte that JSON escapes: how many bytes were copied. */
    static Py_ssize_t copy_plain(char *to, const char *from, Py_ssize_t size) {
        Py_ssize_t at = 0;
        unsigned long long word;
        for (; at + 8 <= size; at += 8) {
            memcpy(&word, from + at, 8);
            if (TO_ESCAPE(word)) break;
            memcpy(to + at, &word, 8);
        }
        if (at + 8 > size && at < size) {  /* the rest is shorter than a word: beside it stand bytes that are copied */
            unsigned int first, last;
            unsigned short begin, end;
            if (size >= 8) {
                memcpy(&word, from + size - 8, 8);
                if (!TO_ESCAPE(word)) { memcpy(to + size - 8, &word, 8); return size; }
            } else if (size >= 4) {
                memcpy(&first, from, 4), memcpy(&last, from + size - 4, 4);
                word = (unsigned long long)first << 32 | last;
                if (!TO_ESCAPE(word)) { memcpy(to, &first, 4), memcpy(to + size - 4, &last, 4); return size; }
            } else if (size >= 2) {
                memcpy(&begin, from, 2), memcpy(&end, from + size - 2, 2);
                word = 0x61 * (ONES << 32) | (unsigned long long)begin << 16 | end;
                if (!TO_ESCAPE(word)) { memcpy(to, &begin, 2), memcpy(to + size - 2, &end, 2); return size; }
            }
        }
        for (; at < size && from[at] >= 0x20 && from[at] != '"' && from[at] != '\\\\'; at++) to[at] = from[at];
        return at;
    }
    /* Whether all bytes are ASCII other than DEL. */
    static int is_harmless(const char *data, Py_ssize_t size) {
        unsigned long long harm = 0, word;
        for (; size >= 8; size -= 8, data += 8) {
            memcpy(&word, data, 8);
            harm |= word | (word + ONES);  /* DEL and one are 0x80; what is carried on comes from 0xff, which is found */
        }
        for (; size; size--, data++) harm |= (unsigned char)*data | ((unsigned char)*data + 1);
        return !(harm & 0x80 * ONES);
    }
    """
    bint IS_COMPACT_ASCII(PyObject *text) nogil
    Py_ssize_t copy_plain(char *to, const char *source, Py_ssize_t size) nogil
    bint is_harmless(const char *data, Py_ssize_t size) nogil

cdef extern from "Python.h" nogil:
    int _PyBytes_Resize(PyObject **data, Py_ssize_t size) except -1 with gil
    bint PyUnicode_CheckExact(PyObject *value)
    bint PyLong_CheckExact(PyObject *value)
    bint PyFloat_CheckExact(PyObject *value)
    bint PyList_CheckExact(PyObject *value)
    bint PyTuple_CheckExact(PyObject *value)
    bint PyDict_CheckExact(PyObject *value)
    bint PyBytes_CheckExact(PyObject *value)
    Py_ssize_t PyUnicode_GET_LENGTH(PyObject *text)
    const char *PyUnicode_DATA(PyObject *text)
    long long PyLong_AsLongLongAndOverflow(PyObject *number, int *overflow)  # of an int it raises nothing
    Py_ssize_t list_size "PyList_GET_SIZE"(PyObject *values)
    PyObject *list_item "PyList_GET_ITEM"(PyObject *values, Py_ssize_t place)
    Py_ssize_t tuple_size "PyTuple_GET_SIZE"(PyObject *values)
    PyObject *tuple_item "PyTuple_GET_ITEM"(PyObject *values, Py_ssize_t place)
    Py_ssize_t dict_size "PyDict_Size"(PyObject *values)
    int dict_next "PyDict_Next"(PyObject *values, Py_ssize_t *at, PyObject **key, PyObject **value)
    Py_ssize_t set_size "PySet_GET_SIZE"(PyObject *values)
    Py_ssize_t bytes_size "PyBytes_GET_SIZE"(PyObject *data)
    char *bytes_data "PyBytes_AS_STRING"(PyObject *data)
    PyTypeObject *Py_TYPE(PyObject *value)
    PyTypeObject PySet_Type
    Py_ssize_t PY_SSIZE_T_MAX
    PyObject *Py_True
    PyObject *Py_False
    PyObject *Py_None

cdef enum:
    MOST_TEXT = 65_536  # a longer text makes a line that is too long anyway
    MOST_NESTED = 16
    MOST_CLASSES = 32  # of records, whose plans are at hand
    KEY_ROOM = 32
    MOST_DIGITS = 20
    STAMP_SIZE = 19
    NOTHING_EMPTY = 0
    LIST_EMPTY = 1
    DICT_EMPTY = 2
    SET_EMPTY = 3

cdef char[200] PAIRS  # 00 to 99
for _number in range(100):
    PAIRS[2 * _number], PAIRS[2 * _number + 1] = 48 + _number // 10, 48 + _number % 10

cdef object NO_DEFAULT = object()

cdef struct Field:
    Py_ssize_t at
    PyObject *default
    int empty
    bint is_time
    const char *key
    Py_ssize_t key_size


@cython.final
cdef class Plan:
    """How the fields of a record are written: `,"name":value` for each, but for those that are left out."""

    cdef readonly Layout layout
    cdef list kept
    cdef Field[MOST_FIELDS] fields
    cdef Py_ssize_t count

    def __init__(self, record, dict fields=None, like=None, times=()):
        """
        Args:
            fields: the names that JSON has, in order, and whose values stand there; None: as msgspec writes the record.
            like: the record class that says which values are defaults, to be left out, by the names that JSON has.
            times: names whose value is nanoseconds since 1970, to be written as EVE's time.

        TypeError where msgspec would not write an object with a key for each field.
        """
        self.layout, self.kept, self.count = Layout(record), [], 0
        if fields is None:
            like = record
            fields = dict(zip(record.__struct_encode_fields__, record.__struct_fields__))
        defaults = {} if like is None else self._defaults(like)
        for name, field in fields.items():
            self._add(name, self.layout.place(field), defaults, name in times)

    def _defaults(self, like):
        config = like.__struct_config__
        if config.array_like or config.tag is not None:
            raise TypeError(f"{like.__name__} is not written as an object of its fields alone")
        values = like.__struct_defaults__
        names = like.__struct_encode_fields__
        return dict(zip(names[len(names) - len(values):], values)) if config.omit_defaults else {}

    def _add(self, str name, Py_ssize_t place, dict defaults, bint is_time):
        if not name.isascii() or not name.isprintable() or '"' in name or "\\" in name:
            raise TypeError(f"the name {name!r} would have to be escaped")
        cdef Field *field = &self.fields[self.count]
        key = f',"{name}":'.encode()
        padded = key.ljust(KEY_ROOM, b"\0")
        default = defaults.get(name, NO_DEFAULT)
        self.kept += [padded, default]
        field.at, field.is_time = self.layout.at[place], is_time
        field.key, field.key_size = PyBytes_AS_STRING(padded), PyBytes_GET_SIZE(key)
        field.default = <PyObject *>default
        factory = getattr(default, "factory", None)
        field.empty = (LIST_EMPTY if factory is list else DICT_EMPTY if factory is dict else SET_EMPTY if factory is set
                       else NOTHING_EMPTY)
        self.count += 1


cdef inline bint is_default(Field *field, PyObject *value) noexcept nogil:
    """msgspec's rule (omit_defaults): the very object that is the default, or as empty as its factory makes it."""
    if value is field.default:
        return True
    if field.empty == LIST_EMPTY:
        return PyList_CheckExact(value) and list_size(value) == 0
    if field.empty == DICT_EMPTY:
        return PyDict_CheckExact(value) and dict_size(value) == 0
    return field.empty == SET_EMPTY and Py_TYPE(value) is &PySet_Type and set_size(value) == 0


cdef inline PyObject *held_in(PyObject *record, Py_ssize_t offset) noexcept nogil:
    """What stands in a slot of a record; NULL where nothing does."""
    return (<PyObject **>(<char *>record + offset))[0]


cdef void write_second(char *to, long long second) noexcept nogil:
    """A second since 1970 as `2026-01-02T03:04:05`, of those that 64 bits of nanoseconds hold (years 1677 to 2262).

    Howard Hinnant, "chrono-compatible low-level date algorithms", civil_from_days: years begin in March.
    """
    cdef long long days = (second - 86_399 if second < 0 else second) // 86_400  # C's division cuts towards zero
    cdef unsigned int rest = <unsigned int>(second - days * 86_400)
    cdef unsigned int since = <unsigned int>(days + 719_468)  # days since 1 March of the year 0
    cdef unsigned int era = since // 146_097, of_era = since % 146_097
    cdef unsigned int year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    cdef unsigned int of_year = of_era - (365 * year + year // 4 - year // 100)
    cdef unsigned int month = (5 * of_year + 2) // 153
    cdef unsigned int day = of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    year += era * 400 + (1 if month <= 2 else 0)
    memcpy(to, b"0000-00-00T00:00:00", STAMP_SIZE)
    memcpy(to, PAIRS + 2 * (year // 100), 2)
    memcpy(to + 2, PAIRS + 2 * (year % 100), 2)
    memcpy(to + 5, PAIRS + 2 * month, 2)
    memcpy(to + 8, PAIRS + 2 * day, 2)
    memcpy(to + 11, PAIRS + 2 * (rest // 3_600), 2)
    memcpy(to + 14, PAIRS + 2 * (rest // 60 % 60), 2)
    memcpy(to + 17, PAIRS + 2 * (rest % 60), 2)


cdef struct Written:
    PyTypeObject *record
    PyObject *plan  # NULL: only Python writes records of this class


@cython.final
cdef class JsonText:
    """A growing text. Methods that write return 1, or 0 where Python must write it: `used` is then to be set back.

    It grows in the bytes that are made of it, or, where another thread writes it, in memory of its own (`detached`).
    """

    cdef PyObject *data
    """The bytes; NULL where it is detached."""
    cdef char *begin
    cdef Py_ssize_t used
    cdef Py_ssize_t room
    cdef Py_ssize_t most
    """It does not grow beyond."""
    cdef bint full
    """There was no room, or no memory."""
    cdef dict plans
    """By record class; None for those that only Python writes. Nothing is ever taken out."""
    cdef Written[MOST_CLASSES] known
    """The same."""
    cdef int classes
    cdef PyTypeObject *missing
    """The record class that is not known."""
    cdef object encode
    """msgspec's encoder."""
    cdef long long stamp_second
    cdef bint stamped
    cdef char[STAMP_SIZE] stamp

    def __cinit__(self, Py_ssize_t room, dict plans, encode, *, Py_ssize_t most=0):
        """
        Args:
            most: makes a detached one, which has no more room than this.
        """
        self.plans, self.encode = plans, encode
        self.most = most or PY_SSIZE_T_MAX // 4
        if not most:
            made = PyBytes_FromStringAndSize(NULL, room)
            self.data = <PyObject *>made
            Py_INCREF(made)
            self.begin, self.room = PyBytes_AS_STRING(made), room
        self.know()

    def __dealloc__(self):
        if self.data is NULL:
            free(self.begin)
        Py_XDECREF(self.data)

    cdef int know(self) except -1:
        """Learns the plans that there are."""
        cdef Written *known
        self.missing = NULL
        if self.classes == len(self.plans):
            return 0
        self.classes = 0
        for record, plan in self.plans.items():
            if self.classes == MOST_CLASSES:
                break
            known = &self.known[self.classes]
            known.record = <PyTypeObject *><PyObject *>record
            known.plan = NULL if plan is None else <PyObject *>plan
            self.classes += 1
        return 0

    cdef int learn(self) except -1:
        """Makes a plan for the class that is missing; 0 where there is none, or no place for it."""
        if self.missing is NULL or self.classes == MOST_CLASSES:
            return 0
        record = <object><PyObject *>self.missing
        if record not in self.plans:
            try:
                plan = Plan(record)
            except (AttributeError, TypeError):
                plan = None
            self.plans[record] = plan
        self.know()
        return 1

    cdef bytes taken(self):
        """What was written; nothing can be written any more."""
        self.room = 0
        _PyBytes_Resize(&self.data, self.used)
        return <bytes>self.data

    cdef inline int reserve(self, Py_ssize_t more) noexcept nogil:
        """Makes sure that `more` bytes can be written; 0 where they cannot (`full`)."""
        return self.grow(more) if more > self.room - self.used else 1

    cdef int grow(self, Py_ssize_t more) noexcept nogil:
        cdef Py_ssize_t room = 2 * (self.used + more)
        cdef char *moved
        if room > self.most:
            room = self.most
        if room - self.used < more:
            self.full = True
        elif self.data is not NULL:
            self.grow_bytes(room)
        else:
            moved = <char *>realloc(self.begin, room)
            if moved is NULL:
                self.full = True
            else:
                self.begin, self.room = moved, room
        return not self.full

    cdef void grow_bytes(self, Py_ssize_t room) noexcept with gil:
        """The same for bytes, of which only a thread with the interpreter's lock makes larger ones."""
        cdef bytes larger
        try:
            larger = PyBytes_FromStringAndSize(NULL, room)
        except MemoryError:
            self.full = True
            return
        memcpy(PyBytes_AS_STRING(larger), self.begin, self.used)
        Py_XDECREF(self.data)
        Py_INCREF(larger)
        self.data, self.begin, self.room = <PyObject *>larger, PyBytes_AS_STRING(larger), room

    cdef inline int raw(self, const char *data, Py_ssize_t size) noexcept nogil:
        """Bytes as they are."""
        if not self.reserve(size):
            return 0
        memcpy(self.begin + self.used, data, size)
        self.used += size
        return 1

    cdef inline int put(self, bytes data) noexcept:
        return self.raw(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    cdef inline int copy(self, PyObject *data) noexcept nogil:
        """The same of bytes that are no less than that (the caller has looked)."""
        return self.raw(bytes_data(data), bytes_size(data))

    cdef inline int key(self, Field *field) noexcept nogil:
        """A comma, the name of a field, a colon."""
        if field.key_size > KEY_ROOM:
            return self.raw(field.key, field.key_size)
        if not self.reserve(KEY_ROOM):
            return 0
        memcpy(self.begin + self.used, field.key, KEY_ROOM)  # of a fixed size, it is no call
        self.used += field.key_size
        return 1

    cdef int number(self, long long number) noexcept nogil:
        """A number in decimal digits."""
        cdef char[MOST_DIGITS] digits
        cdef int at = MOST_DIGITS
        cdef unsigned long long rest = -<unsigned long long>number if number < 0 else number
        while rest >= 100:
            at -= 2
            memcpy(digits + at, PAIRS + 2 * (rest % 100), 2)
            rest //= 100
        if rest >= 10:
            at -= 2
            memcpy(digits + at, PAIRS + 2 * rest, 2)
        else:
            at -= 1
            digits[at] = 48 + rest
        if number < 0 and not self.raw(b"-", 1):
            return 0
        return self.raw(digits + at, MOST_DIGITS - at)

    cdef int integer(self, PyObject *value) noexcept nogil:
        """An int, where 64 bits hold it."""
        cdef int overflow = 0
        cdef long long number = PyLong_AsLongLongAndOverflow(value, &overflow)
        return 0 if overflow else self.number(number)

    cdef int time(self, PyObject *time_ns) noexcept nogil:
        """A time as `2026-01-02T03:04:05.123456+0000`, without quotes."""
        cdef int overflow = 0
        cdef long long ns, second
        cdef unsigned int micros
        cdef char *to
        if not PyLong_CheckExact(time_ns):
            return 0
        ns = PyLong_AsLongLongAndOverflow(time_ns, &overflow)
        if overflow or not self.reserve(STAMP_SIZE + 12):
            return 0
        second = ns // 1_000_000_000 - (1 if ns % 1_000_000_000 < 0 else 0)  # C's division cuts towards zero
        micros = <unsigned int>((ns - second * 1_000_000_000) // 1000)
        if not self.stamped or second != self.stamp_second:
            write_second(self.stamp, second)
            self.stamped, self.stamp_second = True, second
        to = self.begin + self.used
        memcpy(to, self.stamp, STAMP_SIZE)
        memcpy(to + STAMP_SIZE, b".000000+0000", 12)
        memcpy(to + STAMP_SIZE + 1, PAIRS + 2 * (micros // 10_000), 2)
        memcpy(to + STAMP_SIZE + 3, PAIRS + 2 * (micros // 100 % 100), 2)
        memcpy(to + STAMP_SIZE + 5, PAIRS + 2 * (micros % 100), 2)
        self.used += STAMP_SIZE + 12
        return 1

    cdef int text(self, PyObject *text) noexcept nogil:
        """A str in quotes, if it is ASCII without control characters."""
        cdef Py_ssize_t size = PyUnicode_GET_LENGTH(text), done = 0
        cdef const char *source
        cdef char *to
        if size > MOST_TEXT or not IS_COMPACT_ASCII(text) or not self.reserve(2 * size + 2):
            return 0
        source = PyUnicode_DATA(text)
        to = self.begin + self.used
        to[0] = c'"'
        to += 1
        while True:
            size -= done
            source += done
            done = copy_plain(to, source, size)
            to += done
            if done == size:
                break
            if source[done] != c'"' and source[done] != c'\\':
                return 0
            to[0], to[1] = c'\\', source[done]
            to += 2
            done += 1
        to[0] = c'"'
        self.used = to + 1 - self.begin
        return 1

    cdef int value(self, PyObject *value, int depth) noexcept nogil:
        """Anything that lines are made of."""
        if PyUnicode_CheckExact(value):
            return self.text(value)
        if PyLong_CheckExact(value):
            return self.integer(value)
        if value is Py_True:
            return self.raw(b"true", 4)
        if value is Py_False:
            return self.raw(b"false", 5)
        if value is Py_None:
            return self.raw(b"null", 4)
        return 0 if depth > MOST_NESTED else self.compound(value, depth)

    cdef int compound(self, PyObject *value, int depth) noexcept nogil:
        """Anything that is no single word."""
        if PyList_CheckExact(value) or PyTuple_CheckExact(value):
            return self.elements(value, depth)
        if PyDict_CheckExact(value):
            return self.mapping(value)
        if PyFloat_CheckExact(value):
            return 0 if self.data is NULL else self.real(value)
        return self.object(value, depth)

    cdef int real(self, PyObject *value) noexcept with gil:
        """A float: msgspec's own digits."""
        try:
            return self.put(self.encode(<object>value))
        except MemoryError:
            return 0

    cdef int elements(self, PyObject *values, int depth) noexcept nogil:
        """A list or tuple."""
        cdef Py_ssize_t start = self.used, at, count
        cdef bint is_list = PyList_CheckExact(values)
        count = list_size(values) if is_list else tuple_size(values)
        for at in range(count):
            if not self.raw(b",", 1) or not self.value(
                    list_item(values, at) if is_list else tuple_item(values, at), depth + 1):
                return 0
        return self.bracketed(start, c"[", b"]")

    cdef int mapping(self, PyObject *values) noexcept nogil:
        """A dict of texts, numbers and the like by texts."""
        cdef Py_ssize_t start = self.used, at = 0
        cdef PyObject *key
        cdef PyObject *value
        while dict_next(values, &at, &key, &value):
            if not PyUnicode_CheckExact(key) or not self.raw(b",", 1) or not self.text(key) or not self.raw(b":", 1):
                return 0
            if not (PyUnicode_CheckExact(value) or PyLong_CheckExact(value)) or not self.value(value, 0):
                return 0
        return self.bracketed(start, c"{", b"}")

    cdef int bracketed(self, Py_ssize_t start, char opening, const char *closing) noexcept nogil:
        """Sets brackets around `,first,second`: the first comma gives its place."""
        if self.used == start and not self.raw(b",", 1):
            return 0
        self.begin[start] = opening
        return self.raw(closing, 1)

    cdef int object(self, PyObject *record, int depth) noexcept nogil:
        """A record of a class that has a plan; one that may have is `missing`."""
        cdef PyTypeObject *its = Py_TYPE(record)
        cdef int at
        for at in range(self.classes):
            if self.known[at].record is its:
                return 0 if self.known[at].plan is NULL else self.record(record, <Plan>self.known[at].plan, depth)
        self.missing = its
        return 0

    cdef int record(self, PyObject *record, Plan plan, int depth) noexcept nogil:
        """A record of the class that the plan is for."""
        cdef Py_ssize_t start = self.used
        return self.fields(record, plan, depth) and self.bracketed(start, c"{", b"}")

    cdef int fields(self, PyObject *record, Plan plan, int depth) noexcept nogil:
        """The fields of a record, a comma before each."""
        cdef Py_ssize_t place
        cdef Field *field
        cdef PyObject *value
        for place in range(plan.count):
            field = &plan.fields[place]
            value = held_in(record, field.at)
            if value is NULL:
                return 0
            if is_default(field, value):
                continue
            if not self.key(field):
                return 0
            if field.is_time:
                if not self.raw(b'"', 1) or not self.time(value) or not self.raw(b'"', 1):
                    return 0
            elif not self.value(value, depth + 1):
                return 0
        return 1
