"""Ways to drive the pipeline: so far, one process from captures to a sink."""
