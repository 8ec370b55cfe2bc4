"""A *soak*: games are started and stopped for a while, and everything that can be killed is killed at random.

Then the killing stops, everything has to come right, and database, containers, log lines and external events have to
agree. What happens when is drawn from a seed, which is printed: the same seed draws the same deeds. `make soak` soaks
for half an hour, a test for a minute or so.
"""
