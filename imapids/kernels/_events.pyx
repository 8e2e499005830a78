# cython: language_level=3, boundscheck=True, wraparound=False, cdivision=True
# cython: show_performance_hints=False, auto_pickle=False
"""Loops over events and what they are made of: Python objects, but none of the interpreter's steps between them."""

include "layouts.pxi"
include "chunks.pxi"
include "answers.pxi"
include "json_text.pxi"
include "sifting.pxi"
include "matches.pxi"
include "told.pxi"
include "hashes.pxi"
include "naming.pxi"
include "observers.pxi"
include "lines.pxi"
include "turns.pxi"
include "closing.pxi"
include "dialogues.pxi"
include "stamp.pxi"
