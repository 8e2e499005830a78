# Records read and made at the speed of C: where the fields of a msgspec.Struct, or of a class with __slots__, stand.
#
# A compiled function that asks a record for an attribute looks its class up each time, which costs more than the
# interpreter's own specialised step. Fields of records are slots, and the descriptor of a slot says where it stands
# (PyMemberDef, documented C API): what is read once for a class holds for all its instances.

cimport cython
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_INCREF, Py_XDECREF, Py_XINCREF

cdef extern from *:
    """
    #include <structmember.h>
    #ifndef T_OBJECT_EX
    #define T_OBJECT_EX 16
    #endif
    /* Where the slot stands that this descriptor reads; -1: it is no slot that holds any object. */
    static Py_ssize_t slot_offset(PyObject *descriptor) {
        PyMemberDef *member;
        if (!PyObject_TypeCheck(descriptor, &PyMemberDescr_Type)) return -1;
        member = ((PyMemberDescrObject *)descriptor)->d_member;
        return member->type == T_OBJECT_EX ? member->offset : -1;
    }
    static PyObject *new_record(PyTypeObject *type) { return type->tp_alloc(type, 0); }
    """
    unsigned long Py_TPFLAGS_HAVE_GC
    Py_ssize_t slot_offset(object descriptor)
    object new_record(PyTypeObject *kind)

cdef enum:
    MOST_FIELDS = 64


@cython.final
cdef class Layout:
    """Where the fields of a record class stand.

    Of msgspec's records only those are made that the garbage collector does not follow (`gc=False`), for msgspec
    decides later whether it follows the others. Objects of a class with __slots__ are made; any may be read.
    A compiled function that names places by an enum of its own hands over the names in that order (`first`).
    """

    cdef readonly object record
    cdef readonly tuple names
    cdef readonly bint makes
    cdef Py_ssize_t count
    cdef Py_ssize_t[MOST_FIELDS] at
    """Bytes from the begin of a record to each field."""

    def __init__(self, record, tuple first=()):
        """TypeError where this is no record class whose instances can be read in this way.

        Args:
            first: fields that are to have the first places; the others follow in their own order.
        """
        names = getattr(record, "__struct_fields__", None)
        self.makes = names is None or not record.__flags__ & Py_TPFLAGS_HAVE_GC
        if names is None:  # what a class inherits has its slots elsewhere, and other classes may differ from it
            names = record.__dict__.get("__slots__") if record.__mro__[1:] == (object,) else None
        if type(names) is not tuple or len(names) > MOST_FIELDS:
            raise TypeError(f"{record.__name__} is no class of at most {MOST_FIELDS} fields in slots")
        if not set(first) <= set(names):
            raise TypeError(f"{record.__name__} has not all of the fields {', '.join(first)}")
        names = first + tuple(name for name in names if name not in first)
        self.record, self.names, self.count = record, names, len(names)
        for place, name in enumerate(names):
            self.at[place] = slot_offset(getattr(record, name))
            if self.at[place] < 0:
                raise TypeError(f"{record.__name__}.{name} is no slot")

    cpdef Py_ssize_t place(self, str name) except -1:
        """The place of a field among the fields."""
        return self.names.index(name)

    cdef inline int check(self, object record) except -1:
        """TypeError where a thing is no record of this very class: its memory is laid out in another way."""
        if type(record) is not self.record:
            raise TypeError(f"{type(record).__name__} instead of {self.record.__name__}")
        return 0

    cdef inline object read(self, object record, Py_ssize_t place):
        """The value of a field; the record is of this very class (the caller has looked)."""
        cdef PyObject *value = (<PyObject **>(<char *><PyObject *>record + self.at[place]))[0]
        if value is NULL:
            raise AttributeError(self.names[place])
        return <object>value

    cdef inline void write(self, object record, Py_ssize_t place, object value) noexcept:
        """Sets a field."""
        cdef PyObject **slot = <PyObject **>(<char *><PyObject *>record + self.at[place])
        cdef PyObject *old = slot[0]
        Py_INCREF(value)
        slot[0] = <PyObject *>value
        Py_XDECREF(old)

    cdef inline int add(self, object record, Py_ssize_t place, Py_ssize_t number) except -1:
        """Adds to a field that is a number."""
        if number:
            self.write(record, place, <Py_ssize_t>self.read(record, place) + number)
        return 0

    cdef inline object empty(self):
        """A new record without any field: all are to be written before anybody sees it."""
        if not self.makes:
            raise TypeError(f"{self.record.__name__} is followed by the garbage collector")
        return new_record(<PyTypeObject *><PyObject *>self.record)

    cdef inline object copied(self, object record):
        """A new record with the fields of another one of this very class."""
        cdef object made = self.empty()
        self.fill(made, record)
        return made

    cdef inline object twin(self, object record):
        """The same of a class that the garbage collector may follow: it can see no record that is not whole."""
        cdef object made = new_record(<PyTypeObject *><PyObject *>self.record)
        self.fill(made, record)  # nothing is made here, so that the collector does not run
        return made

    cdef inline void fill(self, object made, object record) noexcept:
        """Writes the fields of another record into one that has none."""
        cdef Py_ssize_t place
        cdef PyObject *value
        for place in range(self.count):
            value = (<PyObject **>(<char *><PyObject *>record + self.at[place]))[0]
            Py_XINCREF(value)
            (<PyObject **>(<char *><PyObject *>made + self.at[place]))[0] = value
