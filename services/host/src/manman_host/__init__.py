"""The host: runs on each machine, starts sessions as containers and reports what it sees."""
