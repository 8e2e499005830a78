"""One module for each parser: its law, its seeds, its check."""
