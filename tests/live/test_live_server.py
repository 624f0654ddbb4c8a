# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""The page without Jupyter: pictures, wishes, viewers that stall, requests that are not ours."""

import http.client
import json
import socket
import threading

import cv2
import numpy as np
import pytest
from live_board import Scripted, until

from m3vit_pynq.errors import M3ViTError
from m3vit_pynq.live import server as server_module
from m3vit_pynq.live.painter import make_painter
from m3vit_pynq.live.server import LiveServer


@pytest.fixture
def server(overlay):
    painter = make_painter(overlay, Scripted)
    with LiveServer(painter, port=0, rate=100.0) as server:
        painter.session.wait(0)
        yield server


def port(server):
    return server._http.server_address[1]


def ask(server, path, body=None, **headers):
    """Status and body of a request."""
    connection = http.client.HTTPConnection("127.0.0.1", port(server), timeout=20)
    method = "GET" if body is None else "POST"
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    try:
        return answer.status, answer.read()
    finally:
        connection.close()


def wish(server, **wishes):
    code, body = ask(server, "/set", json.dumps(wishes))
    return code, json.loads(body)


class Viewer:
    """A connection that reads pictures of the stream."""

    def __init__(self, server):
        self.socket = socket.create_connection(("127.0.0.1", port(server)), timeout=20)
        self.socket.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.file = self.socket.makefile("rb")

    def picture(self):
        while not (line := self.file.readline()).lower().startswith(b"content-length"):
            assert line, "the stream ended"
        size = int(line.split(b":")[1])
        assert self.file.readline() == b"\r\n"
        data = self.file.read(size)
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]

    def close(self):
        self.file.close()
        self.socket.close()


def test_the_page_has_everything_and_loads_nothing_from_elsewhere(server):
    code, body = ask(server, "/")
    text = body.decode()
    assert code == 200 and 'src="stream"' in text and "<title>" in text
    assert "http://" not in text and "https://" not in text
    assert ask(server, "/etc/passwd")[0] == 404
    assert ask(server, "/../../etc/passwd")[0] == 404


def test_the_stream_follows_the_toggle(server):
    viewer = Viewer(server)
    first = viewer.picture()
    assert first.shape == (480 + 46, 640, 3)
    code, state = wish(server, task="both", mode="result")
    assert code == 200 and (state["task"], state["mode"]) == ("both", "result")
    until(lambda: viewer.picture().shape[1] > 900)
    viewer.close()
    until(lambda: server.watching == 0)


def test_the_state_is_what_is_shown(server):
    wish(server, task="both", frozen=True, opacity=0.4)
    session = server.painter.session
    until(lambda: len(session.moment.shots) == 2)
    until(lambda: len({id(s.frame) for s in session.moment.shots.values()}) == 1)
    code, body = ask(server, "/state")
    state = json.loads(body)
    frame = session.moment.newest.frame
    assert code == 200 and state["status"] == "frozen" and state["opacity"] == 0.4
    assert state["tasks"] == ["segmentation", "depth", "both"] and state["frozen"] is True
    metres = f"{(1000 + 10 * int(frame[0, 0, 1])) / 1000:.1f} m"
    assert state["readings"][1] == ["depth", metres]
    assert state["classes"][0][2] == 1.0 and state["classes"][0][1].startswith("#")
    assert "m3vit-ramp" in state["scale"] and state["warning"].startswith("random weights")


def test_stop_start_and_source(server):
    assert wish(server, running=False)[1]["status"] == "stopped"
    assert not server.painter.session.running
    code, state = wish(server, source="synthetic", running=True)
    assert code == 200 and state["source"] == "synthetic"
    until(lambda: server.painter.session.moment.source == "generated frames")


def test_a_point_of_the_picture(server):
    settings = server.painter.settings
    wish(server, mode="side by side")
    height, width = server.painter.newest().composed.pixels.shape[:2]
    panel = server.painter.newest().composed.panels[1]
    wish(server, point=[0.3 * panel.height / height, (panel.left + 0.9 * panel.width) / width])
    assert server.painter.settings.point == pytest.approx((0.3, 0.9), abs=0.01)
    assert settings.point == (0.5, 0.5)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"task": "pose"}', "segmentation, depth, and 'both'"),
        ('{"mode": "x"}', "unknown mode"),
        ('{"opacity": "much"}', "could not convert"),
        ('{"opacity": 7}', "from 0 to 1"),
        ('{"source": "/etc/passwd"}', "unknown source"),
        ('{"point": [1]}', "values"),
        ('{"quality": 100}', "unknown wish"),
        ("[]", "an object"),
        ("{}", "at least one wish"),
        ("{", "Expecting"),
        ("\xff", ""),
        ("x" * 5000, "bytes"),
    ],
)
def test_wishes_that_cannot_be(server, body, words):
    before = server.painter.settings
    code, answer = ask(server, "/set", body.encode("latin-1"))
    assert code == 400 and words in json.loads(answer)["error"]
    assert server.painter.settings == before
    assert server.painter.session.task == "segmentation"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:8765"},
        {"Host": ""},
        {"Host": "localhost", "Origin": "http://evil.example"},
        {"Host": "localhost", "Origin": "null"},
        {"Host": "127.0.0.1", "Origin": "http://localhost"},
    ],
)
def test_pages_of_other_sites_are_refused(server, headers):
    for path, body in (("/", None), ("/stream", None), ("/picture.jpg", None), ("/set", "{}")):
        assert ask(server, path, body, **headers)[0] == 403


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:80", "192.168.2.99:8765"])
def test_our_own_addresses_are_served(server, host):
    assert ask(server, "/state", Host=host)[0] == 200
    assert ask(server, "/state", Host=host, Origin=f"http://{host}")[0] == 200


def test_a_viewer_that_does_not_read_holds_up_nobody(server):
    stalled = Viewer(server)
    until(lambda: server.watching == 1)
    reader = Viewer(server)
    number = server.painter.session.moment.number
    for _ in range(30):
        reader.picture()
    assert server.painter.session.moment.number > number
    assert wish(server, task="depth")[0] == 200
    stalled.close()
    reader.close()
    until(lambda: server.watching == 0)


def test_there_is_room_for_some_viewers_only(server, monkeypatch):
    viewers = [Viewer(server) for _ in range(server_module.VIEWERS)]
    for viewer in viewers:
        viewer.picture()
    assert ask(server, "/stream")[0] == 503
    for viewer in viewers:
        viewer.close()
    until(lambda: server.watching == 0)
    late = Viewer(server)
    late.picture()
    late.close()


def test_closing_ends_everything(overlay):
    before = threading.active_count()
    painter = make_painter(overlay, Scripted)
    server = LiveServer(painter, port=0)
    server.start()
    server.start()
    viewer = Viewer(server)
    viewer.picture()
    server.close()
    server.close()
    assert painter.session.closed and server.watching == 0
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port(server)), timeout=1).close()
    viewer.close()
    until(lambda: threading.active_count() <= before)


def test_a_port_that_is_taken(overlay, server):
    with pytest.raises(M3ViTError, match="--port"):
        LiveServer(make_painter(overlay), port=port(server))


def test_only_this_computer_by_default(server):
    assert server._http.server_address[0] == "127.0.0.1"
    assert server.url == f"http://localhost:{port(server)}/"
    with pytest.raises(ValueError, match="above 0"):
        LiveServer(server.painter, port=0, rate=0)
