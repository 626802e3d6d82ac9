"""One session with the bundled networks for all tests of a file, a server that serves it, and the page in a browser."""

import pytest

from fame_jax.app import Server, Session
from fame_jax.cli.app import desks
from fame_jax.cli.flags import NetworkFlags
from fame_jax.data.images import load, sample_path
from tests import browsers
from tests.app.tab import Tab


@pytest.fixture(scope="module")
def session():
    return Session(desks(NetworkFlags()))


@pytest.fixture(scope="module")
def server(session):
    server = Server(session)
    server.begin()
    yield server
    server.end()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("chromium")


@pytest.fixture(scope="module")
def chromium(folder):
    with browsers.started(folder) as driver:
        yield driver


@pytest.fixture
def tab(chromium, server):
    tab = Tab(chromium, server)
    yield tab
    assert tab.complaints == []
    assert tab.hosts == {f"127.0.0.1:{server.server_address[1]}"}


@pytest.fixture(scope="module")
def image():
    return load(sample_path("cat"), 256, 224)
