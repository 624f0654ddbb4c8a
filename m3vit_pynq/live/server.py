# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""A small page with the live picture, for people without Jupyter. Standard library only.

The picture is Motion JPEG, which every browser shows and which stops by itself
when the browser does not read: a slow viewer gets fewer pictures, never older ones.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from m3vit_pynq.errors import M3ViTError
from m3vit_pynq.live.painter import Painted, Painter
from m3vit_pynq.live.remote import Remote, RequestError

log = logging.getLogger(__name__)

PORT = 8765
#: Viewers at the same time.
VIEWERS = 8
#: Seconds without anything new after which the picture is sent again, which
#: notices a viewer that has gone; and seconds for which a viewer may not read.
REPEAT, STUCK = 5.0, 20.0
#: Bytes that may be on the way to a viewer: a few pictures, not seconds of them.
ON_THE_WAY = 96 * 1024
#: Bytes of a request's body.
_LARGEST = 4096

_BOUNDARY = "m3vit-picture"
_PAGE = Path(__file__).with_name("page.html")


class LiveServer:
    """Serves the page of one painter; a context manager.

    Parameters
    ----------
    painter : Painter
        Its session is started with the server and closed with it.
    host : str
        Address to listen on. Only this computer can connect to ``127.0.0.1``;
        ``0.0.0.0`` lets everybody on the network see the camera.
    port : int
        0 for any that is free.
    rate : float
        Pictures per second and viewer, at most.

    Attributes
    ----------
    url : str
        What to open in a browser.

    Raises
    ------
    M3ViTError
        If the address cannot be listened on.
    """

    def __init__(
        self, painter: Painter, host: str = "127.0.0.1", port: int = PORT, rate: float = 20.0
    ) -> None:
        if not rate > 0:
            raise ValueError(f"rate is above 0 pictures per second, not {rate}")
        self.painter = painter
        self.rate = rate
        try:
            self._http = _Server((host, port), _Handler)
        except OSError as error:
            raise M3ViTError(
                f"{host}:{port} cannot be listened on ({error.strerror or error}); choose another "
                "port with --port"
            ) from None
        self._http.live = self
        self.remote = Remote(painter)
        shown = "localhost" if host in ("", "0.0.0.0", "127.0.0.1") else host
        self.url = f"http://{shown}:{self._http.server_address[1]}/"
        self.closing = False
        self._viewers = threading.BoundedSemaphore(VIEWERS)
        self._watching = 0
        self._thread: threading.Thread | None = None

    @property
    def watching(self) -> int:
        """Viewers that receive pictures now."""
        return self._watching

    def start(self) -> None:
        """Start the session and answer requests in a thread. Idempotent."""
        if self._thread is not None:
            return
        self.painter.session.start()
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(0.1,), name="m3vit-page", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """End all connections, the session, and free the port. Idempotent."""
        if self.closing:
            return
        self.closing = True
        if self._thread is not None:
            self._http.shutdown()
            self._thread.join(STUCK)
        self.painter.session.close()
        deadline = time.monotonic() + 2.0
        while self._watching and time.monotonic() < deadline:
            time.sleep(0.01)
        self._http.server_close()

    def __enter__(self) -> LiveServer:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # For the handlers.

    def admit(self) -> bool:
        """Take a place for a viewer, if there is one."""
        admitted = self._viewers.acquire(blocking=False)
        self._watching += admitted
        return admitted

    def dismiss(self) -> None:
        """Give a viewer's place back."""
        self._watching -= 1
        self._viewers.release()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    live: LiveServer

    def handle_error(self, request: object, client_address: object) -> None:
        log.info("a viewer at %s went away", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: _Server
    timeout = STUCK

    def do_GET(self) -> None:
        if not self._is_for_us():
            return
        path = urlsplit(self.path).path
        if path == "/":
            self._answer(_PAGE.read_bytes(), "text/html; charset=utf-8")
        elif path == "/state":
            self._answer_json(self.server.live.remote.state())
        elif path == "/picture.jpg":
            self._answer(self.server.live.painter.newest().jpeg, "image/jpeg")
        elif path == "/stream":
            self._stream()
        else:
            self.send_error(404, "no such page")

    def do_POST(self) -> None:
        if not self._is_for_us():
            return
        if urlsplit(self.path).path != "/set":
            self.send_error(404, "no such page")
            return
        try:
            length = int(self.headers.get("Content-Length", "0"))
            if not 0 < length <= _LARGEST:
                raise RequestError(f"a request has 1 to {_LARGEST} bytes")
            self.server.live.remote.apply(json.loads(self.rfile.read(length)))
        except (RequestError, ValueError) as error:  # of JSON and UTF-8 as well
            self._answer_json({"error": str(error)}, 400)
            return
        self._answer_json(self.server.live.remote.state())

    def _is_for_us(self) -> bool:
        """Refuse pages of other sites that reach for this one through a browser.

        Their requests name their own host (after DNS rebinding) or origin.
        """
        host = self.headers.get("Host", "")
        origin = self.headers.get("Origin")
        if _is_own_name(host) and (origin is None or urlsplit(origin).netloc == host):
            return True
        self.send_error(403, "open this page by the address of the computer it runs on")
        return False

    def _stream(self) -> None:
        live = self.server.live
        if not live.admit():
            self.send_error(503, f"{VIEWERS} viewers are watching already")
            return
        try:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ON_THE_WAY)
            self.send_response(200)
            self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            with suppress(OSError):  # the viewer went away, or does not read any more
                self._send_pictures(live)
        finally:
            live.dismiss()
        self.close_connection = True

    def _send_pictures(self, live: LiveServer) -> None:
        serial, due = 0, 0.0
        while not live.closing:
            painted = live.painter.after(serial, REPEAT, lambda: live.closing)
            if painted is None:
                painted = live.painter.newest()
            self._send_picture(painted)
            _count(live.painter, painted, serial)
            serial = painted.serial
            # Drawing and sending are a part of the time between two pictures.
            now = time.monotonic()
            due = max(now, due + 1.0 / live.rate)
            time.sleep(due - now)

    def _send_picture(self, painted: Painted) -> None:
        head = (
            f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\n"
            f"Content-Length: {len(painted.jpeg)}\r\n\r\n"
        )
        self.wfile.write(head.encode() + painted.jpeg + b"\r\n")

    def _answer_json(self, content: dict, code: int = 200) -> None:
        self._answer(json.dumps(content).encode(), "application/json", code)

    def _answer(self, body: bytes, kind: str, code: int = 200) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        log.debug(format, *arguments)


def _count(painter: Painter, painted: Painted, before: int) -> None:
    """Keep the figures of a picture that was handed to the network."""
    figures = painter.session.figures
    figures.pictures.tick()
    if painted.moment is not None and painted.serial != before:
        figures.end_to_end.add(time.perf_counter() - painted.moment.newest.captured)


def _is_own_name(host: str) -> bool:
    """Whether a Host header is an address, localhost or this computer's name."""
    name = urlsplit(f"//{host}").hostname or ""
    with suppress(ValueError):
        ipaddress.ip_address(name)
        return True
    own = socket.gethostname().lower()
    return name == "localhost" or name in (own, own.split(".")[0], f"{own.split('.')[0]}.local")
