"""A real S3 server on this machine, which is slow, refuses and goes away."""

import random
import socket
import threading
import time

import pytest

from fame_jax.remote import Remote


class Weather:
    """Between the server and its clients: requests take a while, fail, or find nobody."""

    def __init__(self, server):
        self.server, self.random = server, random.Random(0)
        self.latency = self.failing = self.away_until = 0.0
        self.requests = 0

    def __call__(self, environ, start_response):
        self.requests += 1
        time.sleep(self.latency)
        if time.monotonic() < self.away_until:
            environ["werkzeug.socket"].shutdown(
                socket.SHUT_RDWR
            )  # The connection is lost in the middle of the request.
            raise ConnectionError
        if self.random.random() < self.failing:
            start_response("503 Slow Down", [("Content-Length", "0")])
            return [b""]
        return self.server(environ, start_response)


@pytest.fixture(scope="module")
def server():
    """A server of S3 in a thread of its own."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def log(self, *words):
            pass

    weather = Weather(DomainDispatcherApplication(create_backend_app))
    found = make_server("127.0.0.1", 0, weather, threaded=True, request_handler=Quiet)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    weather.address = f"http://127.0.0.1:{found.server_port}"
    yield weather
    found.shutdown()


@pytest.fixture
def bucket(server, monkeypatch, request):
    """An empty bucket."""
    import boto3

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    server.latency = server.failing = server.away_until = 0.0
    name = f"bucket-{abs(hash(request.node.name))}"
    boto3.client("s3", endpoint_url=server.address, region_name="us-east-1").create_bucket(Bucket=name)
    return Remote(f"s3://{name}")
