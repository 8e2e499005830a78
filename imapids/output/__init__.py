"""Events and alerts to where people and programs read them: EVE JSON lines, a summary on a terminal, CSV.

The last stage: renderers take finished records and never ask the pipeline. Whatever they write is printable.
"""
