"""The command line: one module a command, with its options and what it runs; the screen, tables and JSON
records. A new command goes here.

May import everything; nothing imports it. `render --help` loads none of the rest.
"""
