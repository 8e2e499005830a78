# Rules over events, one event after the other, as far as answers are known: detect/programs.py says what steps are,
# and goes on column by column where a value is new.


cdef enum:
    LETTERS = 128
    MOST_LENGTH = 63


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
        cdef object value = self.reading.value(event)
        cdef PyObject *known
        if value is self.last and self.last_mask is not None:
            return self.last_mask
        if self.is_silent(<PyObject *>value):
            return _ZERO
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
cdef class Sieve:
    """The rules of one category, for events whose answers are known."""

    cdef tuple readings
    cdef dict steps
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
        self.nothing, self.make_way = nothing, make_way
        self.ask_at, self.sure_at, self.way_at = [step.place(name) for name in ("ask", "sure", "way")]

    cdef object begin(self, object event):
        """The step of an event's key; None where the key is new."""
        cdef Py_ssize_t which, width = len(self.readings)
        cdef PyObject *step
        cdef tuple key = PyTuple_New(width)
        for which in range(width):
            _put(key, which, (<Reading>PyTuple_GET_ITEM(self.readings, which)).value(event))
        step = PyDict_GetItemWithError(self.steps, key)
        return None if step is NULL else <object>step

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
