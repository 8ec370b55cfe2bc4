"""The rules, as functions of values.

Values in, values or a `manman.errors` exception out. Nothing here reads a clock, waits, logs, stores or sends; `now` is
an argument. To know what the platform decides, read this package; to know who asks it, read the handlers.
"""
