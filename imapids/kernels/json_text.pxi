# JSON of records, written into one growing buffer: byte for byte what msgspec's encoder writes.
#
# What is written here is what lines are made of: ASCII text, whole numbers, lists, dicts and records of them. All else
# is the other way's: a method that meets it returns 0, and its caller gives back what was written and asks Python.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Next, PyDict_Size
from cpython.list cimport PyList_GET_SIZE
from cpython.set cimport PySet_GET_SIZE
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
    bint IS_COMPACT_ASCII(PyObject *text)
    Py_ssize_t copy_plain(char *to, const char *source, Py_ssize_t size) nogil
    bint is_harmless(const char *data, Py_ssize_t size) nogil

cdef extern from "Python.h":
    int _PyBytes_Resize(PyObject **data, Py_ssize_t size) except -1
    bint PyUnicode_CheckExact(PyObject *value)
    bint PyLong_CheckExact(PyObject *value)
    bint PyList_CheckExact(PyObject *value)
    bint PyDict_CheckExact(PyObject *value)
    Py_ssize_t PyUnicode_GET_LENGTH(PyObject *text)
    const char *PyUnicode_DATA(PyObject *text)
    long long PyLong_AsLongLongAndOverflow(PyObject *number, int *overflow) except? -1
    PyTypeObject *Py_TYPE(PyObject *value)
    PyObject *Py_True
    PyObject *Py_False
    PyObject *Py_None

cdef enum:
    MOST_TEXT = 65_536  # a longer text makes a line that is too long anyway
    MOST_NESTED = 16
    KEY_ROOM = 32
    MOST_DIGITS = 20
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


cdef inline bint is_default(Field *field, PyObject *value) noexcept:
    """msgspec's rule (omit_defaults): the very object that is the default, or as empty as its factory makes it."""
    if value is field.default:
        return True
    if field.empty == LIST_EMPTY:
        return PyList_CheckExact(value) and PyList_GET_SIZE(<object>value) == 0
    if field.empty == DICT_EMPTY:
        return PyDict_CheckExact(value) and PyDict_Size(<object>value) == 0
    return field.empty == SET_EMPTY and Py_TYPE(value) is <PyTypeObject *>set and PySet_GET_SIZE(<object>value) == 0


@cython.final
cdef class JsonText:
    """A growing text. Methods that write return 1, or 0 where Python must write it: `used` is then to be set back."""

    cdef PyObject *data
    cdef char *begin
    cdef Py_ssize_t used
    cdef Py_ssize_t room
    cdef dict plans
    """By record class; None for those that only Python writes."""
    cdef object second
    """Gives the text of a whole second."""
    cdef object encode
    """msgspec's encoder."""
    cdef long long stamp_second
    cdef bytes stamp

    def __cinit__(self, Py_ssize_t room, dict plans, second, encode):
        self.plans, self.second, self.encode = plans, second, encode
        self.stamp = None
        self.room, self.used = room, 0
        made = PyBytes_FromStringAndSize(NULL, room)
        self.data = <PyObject *>made
        Py_INCREF(made)
        self.begin = PyBytes_AS_STRING(made)

    def __dealloc__(self):
        Py_XDECREF(self.data)

    cdef bytes taken(self):
        """What was written; nothing can be written any more."""
        self.room = 0
        _PyBytes_Resize(&self.data, self.used)
        return <bytes>self.data

    cdef inline int reserve(self, Py_ssize_t more) except -1:
        """Makes sure that `more` bytes can be written."""
        return self.grow(more) if more > self.room - self.used else 1

    cdef int grow(self, Py_ssize_t more) except -1:
        self.room = 0  # where it fails there is none
        _PyBytes_Resize(&self.data, 2 * (self.used + more))
        self.begin = PyBytes_AS_STRING(<object>self.data)
        self.room = 2 * (self.used + more)
        return 1

    cdef inline int raw(self, const char *data, Py_ssize_t size) except -1:
        """Bytes as they are."""
        self.reserve(size)
        memcpy(self.begin + self.used, data, size)
        self.used += size
        return 1

    cdef inline int key(self, Field *field) except -1:
        """A comma, the name of a field, a colon."""
        if field.key_size > KEY_ROOM:
            return self.raw(field.key, field.key_size)
        self.reserve(KEY_ROOM)
        memcpy(self.begin + self.used, field.key, KEY_ROOM)  # of a fixed size, it is no call
        self.used += field.key_size
        return 1

    cdef inline int put(self, bytes data) except -1:
        return self.raw(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    cdef inline int pair(self, unsigned int number) except -1:
        """Two digits, for which there is room."""
        memcpy(self.begin + self.used, PAIRS + 2 * number, 2)
        self.used += 2
        return 1

    cdef int number(self, long long number) except -1:
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
        if number < 0:
            self.raw(b"-", 1)
        return self.raw(digits + at, MOST_DIGITS - at)

    cdef int integer(self, PyObject *value) except -1:
        """An int, where 64 bits hold it."""
        cdef int overflow = 0
        cdef long long number = PyLong_AsLongLongAndOverflow(value, &overflow)
        return 0 if overflow else self.number(number)

    cdef int time(self, PyObject *time_ns) except -1:
        """A time as `2026-01-02T03:04:05.123456+0000`, without quotes."""
        cdef int overflow = 0
        cdef long long ns, second
        cdef unsigned int micros
        if not PyLong_CheckExact(time_ns):
            return 0
        ns = PyLong_AsLongLongAndOverflow(time_ns, &overflow)
        if overflow:
            return 0
        second = ns // 1_000_000_000 - (1 if ns % 1_000_000_000 < 0 else 0)  # C's division cuts towards zero
        micros = <unsigned int>((ns - second * 1_000_000_000) // 1000)
        if self.stamp is None or second != self.stamp_second:
            self.stamp, self.stamp_second = self.second(second), second
        self.put(self.stamp)
        self.reserve(12)
        self.raw(b".", 1)
        self.pair(micros // 10_000)
        self.pair(micros // 100 % 100)
        self.pair(micros % 100)
        return self.raw(b"+0000", 5)

    cdef int text(self, PyObject *text) except -1:
        """A str in quotes, if it is ASCII without control characters."""
        cdef Py_ssize_t size = PyUnicode_GET_LENGTH(text), done = 0
        cdef const char *source
        cdef char *to
        if size > MOST_TEXT or not IS_COMPACT_ASCII(text):
            return 0
        self.reserve(2 * size + 2)
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

    cdef int value(self, PyObject *value, int depth) except -1:
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
        return 0 if depth > MOST_NESTED else self.compound(<object>value, depth)

    cdef int compound(self, value, int depth) except -1:
        """Anything that is no single word."""
        held = value  # whatever runs meanwhile
        if type(held) is list:
            return self.elements(<list>held, depth)
        if type(held) is tuple:
            return self.elements(list(held), depth)
        if type(held) is dict:
            return self.mapping(<dict>held)
        if type(held) is float:
            return self.put(self.encode(held))
        return self.object(held, depth)

    cdef int elements(self, list values, int depth) except -1:
        """A list."""
        cdef Py_ssize_t start = self.used
        for value in values:
            self.raw(b",", 1)
            if not self.value(<PyObject *>value, depth + 1):
                return 0
        return self.bracketed(start, c"[", b"]")

    cdef int mapping(self, dict values) except -1:
        """A dict of texts, numbers and the like by texts: nothing in it can change it meanwhile."""
        cdef Py_ssize_t start = self.used, at = 0
        cdef PyObject *key
        cdef PyObject *value
        while PyDict_Next(values, &at, &key, &value):
            self.raw(b",", 1)
            if not PyUnicode_CheckExact(key) or not self.text(key):
                return 0
            self.raw(b":", 1)
            if not (PyUnicode_CheckExact(value) or PyLong_CheckExact(value)) or not self.value(value, 0):
                return 0
        return self.bracketed(start, c"{", b"}")

    cdef int bracketed(self, Py_ssize_t start, char opening, const char *closing) except -1:
        """Sets brackets around `,first,second`: the first comma gives its place."""
        if self.used == start:
            self.raw(b",", 1)
        self.begin[start] = opening
        return self.raw(closing, 1)

    cdef int object(self, record, int depth) except -1:
        """A record of a class that has a plan, or can have one."""
        plan = self.plans.get(type(record), self)
        if plan is self:
            try:
                plan = Plan(type(record))
            except (AttributeError, TypeError):
                plan = None
            self.plans[type(record)] = plan
        return 0 if plan is None else self.record(record, plan, depth)

    cdef int record(self, record, Plan plan, int depth) except -1:
        """A record of the class that the plan is for."""
        cdef Py_ssize_t start = self.used
        return self.fields(record, plan, depth) and self.bracketed(start, c"{", b"}")

    cdef int fields(self, record, Plan plan, int depth) except -1:
        """The fields of a record, a comma before each."""
        cdef Py_ssize_t place
        cdef Field *field
        cdef PyObject *value
        for place in range(plan.count):
            field = &plan.fields[place]
            value = (<PyObject **>(<char *><PyObject *>record + field.at))[0]
            if value is NULL:
                return 0
            if is_default(field, value):
                continue
            self.key(field)
            if field.is_time:
                self.raw(b'"', 1)
                if not self.time(value):
                    return 0
                self.raw(b'"', 1)
            elif not self.value(value, depth + 1):
                return 0
        return 1
