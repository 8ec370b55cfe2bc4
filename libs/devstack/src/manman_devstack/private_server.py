"""A private server: one that is ours alone, so that tests may stop it, kill it, let it hang and start it again.

What it runs, and when it is ready, is the part's own business: Postgres, RabbitMQ and the object store inherit this.
"""

import abc

from manman_devstack.daemons import Daemon


class PrivateServer(abc.ABC):
    """A server around one daemon; it keeps its ports and its data over every start."""

    daemon: Daemon

    @abc.abstractmethod
    def start(self) -> None:
        """Start it and return when it answers."""

    @abc.abstractmethod
    def stop(self) -> None:
        """End it in order."""

    def kill(self) -> None:
        """End all its processes at once, as a power cut would."""
        self.daemon.kill()

    def restart(self) -> None:
        """Stop and start on the same ports."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Let it hang: connections stay open and nothing answers."""
        self.daemon.freeze()

    def thaw(self) -> None:
        """End `freeze`."""
        self.daemon.thaw()
