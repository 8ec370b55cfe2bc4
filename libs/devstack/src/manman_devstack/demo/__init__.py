"""The demo: one real game server played through the whole platform, told step by step on the terminal.

It is a client like any other: it talks to the REST API, subscribes to the external exchange, asks the game over its
own network protocol, and kills a container as bad luck would. It knows nothing about the platform's inside, starts
and stops none of its parts (that is `make up` and `make down`), and ends with exit code 1 when anything is not as it
should be: it is a test, too.
"""

from manman_devstack.demo.story import run

__all__ = ["run"]
