"""One session with the bundled networks for all tests of a file, and a server that serves it."""

import pytest

from fame_jax.app import Server, Session
from fame_jax.cli.app import desks
from fame_jax.cli.flags import NetworkFlags


@pytest.fixture(scope="module")
def session():
    return Session(desks(NetworkFlags()))


@pytest.fixture(scope="module")
def server(session):
    server = Server(session)
    server.begin()
    yield server
    server.end()
