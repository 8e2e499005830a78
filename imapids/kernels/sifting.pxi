# Rules over events, one event after the other, as far as answers are known: detect/programs.py says what steps are,
# and goes on column by column where a value is new.


from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcmp

cdef enum:
    LETTERS = 128
    MOST_LENGTH = 63
    KEYS_KEPT = 64  # 2 ** 6: see `slot`
    KEYS_TRIED = 1_024  # that were missed, before it is seen whether telling keys by addresses is worth it
    MOST_WORDS = 64


@cython.final
cdef class Question:
    """What the atoms about one field answer for an event: by what its value is like, or by what is remembered."""

    cdef Reading reading
    cdef dict memo
    cdef bint asks_texts, asks_numbers
    cdef unsigned long long[LETTERS] texts
    cdef long long low, high
    cdef object last, last_mask

    def __init__(self, Reading reading not None, dict memo not None, texts=None, numbers=None):
        """
        Args:
            memo: bits by value; where it lacks a value, that is not known.
            texts: for each ASCII letter the lengths (as bits; the highest is for all from there on) of texts that
                begin with it and for which an atom may hold: it holds for no other text. None: it is not known.
            numbers: (lowest, highest) of some integers for which no atom holds. None: none are known.
        """
        self.reading, self.memo = reading, memo
        self.asks_texts, self.asks_numbers = texts is not None, numbers is not None
        if texts is not None:
            for place in range(LETTERS):
                self.texts[place] = texts[place]
        if numbers is not None:
            self.low, self.high = numbers
        self.last = self.last_mask = None

    cdef bint is_silent(self, PyObject *value) except -1:
        """Whether no atom holds for a value, as is seen by what it is like."""
        cdef Py_ssize_t size
        cdef long long number
        cdef int overflow = 0
        cdef const unsigned char *letters
        if PyUnicode_CheckExact(value):
            if not self.asks_texts or not IS_COMPACT_ASCII(value):
                return False
            size = PyUnicode_GET_LENGTH(value)
            if size == 0:
                return False
            letters = <const unsigned char *>PyUnicode_DATA(value)
            return not self.texts[letters[0]] >> (size if size < MOST_LENGTH else MOST_LENGTH) & 1
        if self.asks_numbers and PyLong_CheckExact(value):
            number = PyLong_AsLongLongAndOverflow(value, &overflow)
            return not overflow and self.low <= number <= self.high
        return False

    cdef object mask(self, object event):
        """Bits of the atoms that hold; None where that is not known."""
        cdef PyObject *found = self.reading.peek(event)
        cdef PyObject *known
        cdef object value
        if found is not NULL and found is <PyObject *>self.last and self.last_mask is not None:
            return self.last_mask
        if found is not NULL and self.is_silent(found):
            return _ZERO
        value = self.reading.value(event)
        known = PyDict_GetItemWithError(self.memo, value)
        if known is NULL:
            return None
        self.last, self.last_mask = value, <object>known
        return self.last_mask


@cython.final
cdef class Way:
    """What a Rest asks, and where the answers lead."""

    cdef list questions
    cdef dict steps

    def __init__(self, list questions not None, dict steps not None):
        """
        Args:
            steps: by the bits of all that was asked up to here.
        """
        for question in questions:
            if not isinstance(question, Question):
                raise TypeError("not a Question")
        self.questions, self.steps = questions, steps

    cdef object asked(self, object event, object truth):
        """The bits of `truth` and of the answers; None where one is not known: it is asked first from then on."""
        cdef Py_ssize_t place
        cdef object mask
        for place in range(len(self.questions)):
            mask = (<Question>self.questions[place]).mask(event)
            if mask is None:
                if place:
                    self.questions[0], self.questions[place] = self.questions[place], self.questions[0]
                return None
            if mask is not _ZERO:
                truth = mask if truth is _ZERO else truth | mask
        return truth


@cython.final
cdef class Known:
    """A key and its step."""

    cdef bytes words
    cdef tuple key
    """Keeps the objects alive whose addresses stand in `words`."""
    cdef object step


@cython.final
cdef class Sieve:
    """The rules of one category, for events whose answers are known.

    Values that make a key are mostly the very same objects: the addresses of what stands in the fields tell the step
    without a key being made.
    """

    cdef tuple readings
    cdef dict steps
    cdef list known
    cdef readonly Py_ssize_t found, missed
    """Keys that were told by addresses, and those that were not."""
    cdef Py_ssize_t used
    cdef size_t[MOST_WORDS] words
    cdef Layout step
    cdef object nothing, make_way
    cdef Py_ssize_t ask_at, sure_at, way_at

    def __init__(self, tuple readings not None, dict steps not None, Layout step not None, object nothing,
                 object make_way):
        """
        Args:
            readings: of the fields that make a key.
            steps: by key.
            step: of the class of steps.
            nothing: the step of no rules.
            make_way: sets the `way` of a step, and gives it.
        """
        for reading in readings:
            if not isinstance(reading, Reading):
                raise TypeError("not a Reading")
        self.readings, self.steps, self.step = readings, steps, step
        self.known, self.found, self.missed = [None] * KEYS_KEPT, 0, 0
        self.nothing, self.make_way = nothing, make_way
        self.ask_at, self.sure_at, self.way_at = [step.place(name) for name in ("ask", "sure", "way")]

    cdef object begin(self, object event):
        """The step of an event's key; None where the key is new."""
        cdef Py_ssize_t slot
        cdef object step
        cdef Known known
        if self.missed > KEYS_TRIED and self.missed > self.found or not self.spell(event):
            return self.look_up(self.key_of(event))
        slot = self.slot()
        for slot in (slot, slot ^ 1):
            known = self.known[slot]
            if known is None:
                break
            if PyBytes_GET_SIZE(known.words) == self.used * <Py_ssize_t>sizeof(size_t) and (
                    memcmp(PyBytes_AS_STRING(known.words), self.words, self.used * sizeof(size_t)) == 0):
                self.found += 1
                return known.step
        self.missed += 1
        known = Known()
        known.key = self.key_of(event)
        step = known.step = self.look_up(known.key)
        if step is not None and self.spell_key(known.key):  # of what is kept, whatever became of the event
            known.words = PyBytes_FromStringAndSize(<char *>self.words, self.used * sizeof(size_t))
            self.known[slot] = known
        return step

    cdef object look_up(self, tuple key):
        cdef PyObject *step = PyDict_GetItemWithError(self.steps, key)
        return None if step is NULL else <object>step

    cdef tuple key_of(self, object event):
        cdef Py_ssize_t which, width = len(self.readings)
        cdef tuple key = PyTuple_New(width)
        for which in range(width):
            _put(key, which, (<Reading>PyTuple_GET_ITEM(self.readings, which)).value(event))
        return key

    cdef bint spell(self, object event) except -1:
        """Writes down the addresses of what stands in the fields of the key, of a list's elements behind their number;
        False where not all of them can be told in this way."""
        cdef Py_ssize_t which
        cdef Reading reading
        cdef PyObject *found
        self.used = 0
        for which in range(len(self.readings)):
            reading = <Reading>PyTuple_GET_ITEM(self.readings, which)
            found = reading.peek(event)
            if found is NULL:
                return False
            if not reading.many and reading.inner is None:
                if not self.word(<size_t>found):
                    return False
            elif not PyList_CheckExact(found) or not self.spell_list(<list>found, reading.inner, reading.inner_at):
                return False
        return True

    cdef bint spell_list(self, list items, Layout inner, Py_ssize_t inner_at) except -1:
        cdef object item
        if not self.word(len(items)):
            return False
        for item in items:
            if inner is not None:
                if type(item) is not inner.record:
                    return False
                item = inner.read(item, inner_at)
            if not self.word(<size_t><PyObject *>item):
                return False
        return True

    cdef bint spell_key(self, tuple key) except -1:
        """`spell` for a key that was made."""
        cdef Py_ssize_t which
        cdef Reading reading
        cdef object value, item
        self.used = 0
        for which in range(len(key)):
            reading, value = <Reading>PyTuple_GET_ITEM(self.readings, which), key[which]
            if not reading.many and reading.inner is None:
                if not self.word(<size_t><PyObject *>value):
                    return False
                continue
            if type(value) is not tuple or not self.word(len(<tuple>value)):
                return False
            for item in <tuple>value:
                if not self.word(<size_t><PyObject *>item):
                    return False
        return True

    cdef inline bint word(self, size_t word) noexcept:
        if self.used == MOST_WORDS:
            return False
        self.words[self.used] = word
        self.used += 1
        return True

    cdef Py_ssize_t slot(self) noexcept:
        """Where a key of these words is kept."""
        cdef size_t mixed = 0
        cdef Py_ssize_t which
        for which in range(self.used):
            mixed = (mixed ^ self.words[which] >> 4) * <size_t>0x9E3779B97F4A7C15
        return mixed >> (8 * sizeof(size_t) - 6) & (KEYS_KEPT - 1)

    cdef object end(self, object event, object step):
        """The step at which nothing is open, from another one on; None where it is not known."""
        cdef object way, truth = _ZERO
        cdef PyObject *found
        while True:
            self.step.check(step)
            if self.step.read(step, self.ask_at) is None:
                return step
            way = self.step.read(step, self.way_at)
            if way is None:
                way = self.make_way(step)
            if type(way) is not Way:
                raise TypeError("not a Way")
            truth = (<Way>way).asked(event, truth)
            if truth is None:
                return None
            found = PyDict_GetItemWithError((<Way>way).steps, truth)
            if found is NULL:
                return None
            step = <object>found


def sift(Layout layout not None, list events not None, dict sieves not None, list found not None):
    """The events whose answers are not all known, by kind: their places, they themselves, and the steps of their keys,
    None where a key is new.

    What holds for all others is added to `found`: (place, rules).

    Args:
        sieves: by kind of event; all events of a kind without one are given back.
    """
    cdef dict left = {}
    cdef Sieve sieve = None
    cdef tuple here = None
    cdef object event, kind, step, end, last = None
    cdef Py_ssize_t place, kind_at = layout.place("kind")
    for place in range(len(events)):
        event = events[place]
        kind = layout.read(event, kind_at) if type(event) is layout.record else event.kind
        if kind is not last:
            last, sieve, here = kind, sieves.get(kind), left.get(kind)
        step = None
        if sieve is not None:
            step = sieve.begin(event)
            if step is sieve.nothing:
                continue
            end = None if step is None else sieve.end(event, step)
            if end is not None:
                if end is not sieve.nothing:
                    found.append((place, sieve.step.read(end, sieve.sure_at)))
                continue
        if here is None:
            here = left[kind] = ([], [], [])
        (<list>here[0]).append(place)
        (<list>here[1]).append(event)
        (<list>here[2]).append(step)
    return left
