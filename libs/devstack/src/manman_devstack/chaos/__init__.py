"""Chaos: what becomes of reports and events when the processor, the broker or the database fails under them.

Real processes, a real broker and a real database, private to one run, and faults done to them on purpose. After every
fault the database has to equal the ledger of what was said, every announced change has to have exactly one event, and
nothing may be stuck. `make chaos` plays all faults at full length and writes docs/reliability.md; the tests play most
of them in short.
"""
