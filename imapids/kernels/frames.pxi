"""Frames to segments: the plain majority, header by header."""
