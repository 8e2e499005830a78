"""Segments of selected conversations to ordered runs of bytes."""
