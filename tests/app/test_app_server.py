"""The server obeys the page alone, and hostile requests and files do no harm."""

import http.client
import json
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest

from fame_jax.app import Server
from fame_jax.app.memory import MOST_UPLOADED
from fame_jax.cli.console import run
from fame_jax.data.images import sample_path


class Client:
    """Requests as a browser, or somebody else, would make them."""

    def __init__(self, server):
        self.host, self.port = server.server_address
        self.token = server.token

    def request(self, method, path, body=b"", headers=None, token=True):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        given = {"Authorization": f"token {self.token}"} if token else {}
        connection.request(method, path, body, given | (headers or {}))
        response = connection.getresponse()
        return response.status, response.read(), response.headers

    def post(self, name, content, **how):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        status, data, _ = self.request("POST", f"/api/{name}", body, **how)
        if status != 200:
            return status, data.decode()
        *messages, end = [json.loads(line) for line in data.splitlines()]
        assert end == {"end": True}
        return messages


@pytest.fixture
def client(server):
    return Client(server)


def test_the_page_opens_by_its_token_alone(client):
    assert client.request("GET", "/")[0] == 403
    assert client.request("GET", "/?token=wrong")[0] == 403
    status, page, headers = client.request("GET", f"/?token={client.token}")
    assert status == 200
    assert b"<title>fame app</title>" in page
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer"
    for path in ("/page.js", "/page.css", "/view.js"):
        assert client.request("GET", path)[0] == 200
    for path in ("/nothing", "/../server.py", "/%2e%2e/server.py", "/page/../../../etc/passwd", "//etc/passwd"):
        assert client.request("GET", path)[0] == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Host": "evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "null"},
    ],
)
def test_no_request_of_another_site_is_obeyed_even_with_the_token(client, headers):
    assert client.post("offers", {}, headers=headers)[0] == 403
    assert client.request("GET", f"/?token={client.token}", headers={"Host": "evil.example"})[0] == 403


def test_without_the_token_nothing_is_obeyed(client):
    assert client.post("offers", {}, token=False)[0] == 403
    assert client.post("offers", {}, token=False, headers={"Authorization": "token no"})[0] == 403
    assert client.request("DELETE", "/api/offers")[0] == 501


def test_the_server_is_not_reached_from_outside(server):
    assert server.server_address[0] == "127.0.0.1"
    outside = [a[4][0] for a in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    for address in {a for a in outside if not a.startswith("127.")}:
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((address, server.server_address[1]), 2)


def test_a_photograph_above_the_limit_is_refused_unread(client):
    headers = {"Content-Length": str(MOST_UPLOADED + 1)}
    status, said, _ = client.request("POST", "/api/photograph", b"", headers)
    assert status == 413
    assert b"64 MiB" in said
    assert client.request("POST", "/api/look", b"", {"Content-Length": str(1 << 30)})[0] == 413
    assert client.request("POST", "/api/look", b"", {"Content-Length": "many"})[0] == 411


BOMB = b"P6\n100000 100000\n255\n"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "evil.png"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "evil.png"),
        (sample_path("cat").read_bytes()[:5000], "cut short"),
        (BOMB, "above the limit"),
    ],
)
def test_a_hostile_file_is_an_error_in_one_line_and_the_next_one_is_read(client, data, said):
    ((told),) = client.post("photograph", data, headers={"X-Name": "..%2F..%2Fevil.png"})
    (answer,) = client.post("look", {"photograph": told["photograph"]})
    assert said in answer["error"]
    assert "\n" not in answer["error"]
    assert ".." not in answer["error"].split(":")[0]
    (sample,) = client.post("sample", {"name": "cat"})
    assert client.post("look", {"photograph": sample["photograph"]})[-1]["top"][0]["index"] == 285


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{", b"[" * 100_000, b'{"photograph": 3}', b"\xff\xfe"])
def test_what_is_no_question_is_an_error_in_one_line(client, content):
    (answer,) = client.post("look", content)
    assert "\n" not in answer["error"]


def test_unknown_names_are_refused(client):
    assert client.post("nothing", {})[0] == 404
    (answer,) = client.post("sample", {"name": "../../etc/passwd"})
    assert "expected one of" in answer["error"]
    (answer,) = client.post("look", {"photograph": "0" * 64})
    assert answer["forgotten"] == "0" * 64


@pytest.mark.thorough
def test_a_closed_tab_in_the_middle_of_a_walk_gives_its_place_free(client, server):
    (sample,) = client.post("sample", {"name": "cat"})
    asked = {"about": "class", "sides": [{"photograph": sample["photograph"]}], "target": 3, "iterations": 500}
    connection = http.client.HTTPConnection(client.host, client.port, timeout=60)
    connection.request("POST", "/api/explain", json.dumps(asked), {"Authorization": f"token {client.token}"})
    response = connection.getresponse()
    assert b"frame" in response.readline()
    response.close()
    connection.close()
    deadline = time.monotonic() + 30
    while len(server.session.line) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(server.session.line) == 0


def test_one_who_gives_up_waiting_leaves_the_line(client, server):
    (sample,) = client.post("sample", {"name": "cat"})
    me = object()
    list(server.session.line.wait(me))
    connection = http.client.HTTPConnection(client.host, client.port, timeout=60)
    body = json.dumps({"photograph": sample["photograph"]})
    connection.request("POST", "/api/look", body, {"Authorization": f"token {client.token}"})
    response = connection.getresponse()
    assert json.loads(response.readline()) == {"before": 1}
    response.close()
    connection.close()
    deadline = time.monotonic() + 30
    while len(server.session.line) > 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(server.session.line) == 1
    server.session.line.leave(me)


def begun(*arguments):
    process = subprocess.Popen(
        [sys.executable, "-c", "from fame_jax.cli import main; main()", "app", "--no-browser", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return process, process.stdout.readline()


@pytest.mark.thorough
def test_ctrl_c_ends_it_cleanly_also_in_the_middle_of_a_walk():
    process, line = begun()
    try:
        address = line.split()[1]
        port, token = int(address.split(":")[2].split("/")[0]), address.partition("token=")[2]
        client = Client.__new__(Client)
        client.host, client.port, client.token = "127.0.0.1", port, token
        (sample,) = client.post("sample", {"name": "cat"})[-1:]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        asked = {"about": "class", "sides": [{"photograph": sample["photograph"]}], "target": 3, "iterations": 500}
        connection.request("POST", "/api/explain", json.dumps(asked), {"Authorization": f"token {token}"})
        response = connection.getresponse()
        while b"frame" not in response.readline():
            pass
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, err) == (0, "")
    assert out.endswith("Ended.\n")


def test_a_port_that_is_taken_is_told(server, capsys):
    port = server.server_address[1]
    assert run(["app", "--no-browser", "--port", f"{port}"]) == 2
    assert f"--port {port}" in capsys.readouterr().err


def test_nothing_is_written(client, server, tmp_path, monkeypatch):
    before = set(pathlib.Path.cwd().iterdir())
    (sample,) = client.post("sample", {"name": "cat"})
    asked = {"about": "class", "sides": [{"photograph": sample["photograph"]}], "target": 3, "method": "blob"}
    assert "done" in client.post("out", {"asked": asked, "kind": "npz"})[-1]
    assert "done" in client.post("report", {})[-1]
    assert set(pathlib.Path.cwd().iterdir()) == before


def test_an_invitation_opens_the_page_once(server, client):
    path = server.invitation().partition(str(client.port))[2]
    status, _, headers = client.request("GET", path)
    assert (status, headers["Location"]) == (303, f"/?token={client.token}")
    assert client.request("GET", path)[0] == 403
    assert client.request("GET", "/?once=")[0] == 403
    assert client.token not in server.invitation()


@pytest.mark.skipif(sys.platform == "win32", reason="there the port would be one that is in use")
def test_a_port_that_has_answered_can_be_taken_again_at_once(session):
    port = 0
    for _ in range(2):
        again = Server(session, port)
        again.begin()
        port = again.server_address[1]
        assert Client(again).request("GET", f"/?token={again.token}")[0] == 200
        with pytest.raises(OSError, match="in use"):
            Server(session, port)
        again.shutdown()
        again.server_close()
