"""Shipped styles, as data: each folder is a collection. Read by `render.jobs.styles` through
importlib.resources."""
