"""Benchmarks: what the platform costs, measured on one machine beside the least that the same work can cost there.

`make bench-…` runs one of them for about three minutes and writes its section of docs/performance.md. They start the
real parts like the tests do, and claim nothing by themselves: no test has a time in it.
"""
