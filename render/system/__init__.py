"""The operating system: files that appear whole or not at all, processes that end with their parent,
interrupts, standard streams that may fail, large memory pages.

May import: `render.errors` and `render.wording`. Knows nothing of pictures, torch or jobs.
"""
