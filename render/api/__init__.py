"""The Python API: `render.stylize`, `render.Painter` and the `render.Art` they return; pictures that come as
paths, arrays or PIL images, and keywords checked by name, type and range.

May import: everything but `render.cli`. `import render` loads none of it until a name of it is used.
"""
