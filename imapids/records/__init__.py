"""The arrows: one module for each kind of record that a stage hands to the next.

Later arrows may name earlier ones, never the reverse:
packets < segments < streams < candidates < dialogue < verdicts < events < alerts.
"""
