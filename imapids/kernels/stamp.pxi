# The stamp of the sources that this module is made of (stamp.py), told by who compiles it.

cdef extern from *:
    """
    #ifndef IMAPIDS_STAMP
    #define IMAPIDS_STAMP ""
    #endif
    """
    const char *IMAPIDS_STAMP

STAMP = IMAPIDS_STAMP.decode()
