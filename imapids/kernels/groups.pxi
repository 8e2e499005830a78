"""Segments to conversations: the hash table of a batch, and what is counted of each conversation."""
