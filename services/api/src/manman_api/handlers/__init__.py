"""What the api does, one async function per use, one transaction each.

A handler takes plain values, `uow` and `now` among them, locks what it decides from, asks `manman.domain`, stores,
commits and returns rows. It knows neither protobuf nor status codes.
"""
