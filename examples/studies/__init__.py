"""Studies: long programs whose tables and pictures are the pages in docs/studies."""
