"""A TCP server on loopback that does to each connection exactly what its script says."""

import json
import socket
import ssl
import struct
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass, field

from patience import patient


def answer(status=200, body=b"", **headers):
    """Bytes of a whole HTTP answer; a dict becomes JSON, `Content_Length=None` leaves a header out."""
    if isinstance(body, dict | list):
        body = json.dumps(body).encode()
    lines = {"Content-Length": str(len(body))} | {k.replace("_", "-"): v for k, v in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    return f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + body


@dataclass
class Asked:
    """One request as it came in."""

    method: str
    path: str
    headers: dict
    body: bytes = b""


@dataclass
class Line:
    """The server's side of one connection."""

    sock: socket.socket
    ended: threading.Event
    asked: list = field(default_factory=list)

    def read(self, count):
        got = bytearray()
        while len(got) < count:
            more = self.sock.recv(min(count - len(got), 65536))
            if not more:
                break
            got += more
        return bytes(got)

    def read_head(self):
        got = b""
        while not got.endswith(b"\r\n\r\n"):
            more = self.sock.recv(1)
            if not more:
                raise ConnectionError("the client left")
            got += more
        first, *rest = got.decode("latin-1").strip().split("\r\n")
        method, path, _ = first.split(" ")
        asked = Asked(method, path, {k.lower(): v for k, v in (line.split(": ", 1) for line in rest)})
        self.asked.append(asked)
        return asked

    def read_request(self):
        asked = self.read_head()
        asked.body = self.read(int(asked.headers.get("content-length", 0)))
        return asked

    def send(self, data):
        self.sock.sendall(data)

    def hold(self):
        """Say nothing until the test is over."""
        self.ended.wait(20)

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class Stub:
    """Plays one script a connection, the last one for all that follow."""

    def __init__(self, *scripts, tls=None, raw_tls=False):
        self.asked = []
        self.connections = 0
        self._scripts = list(scripts)
        self._tls = None if raw_tls else tls
        self._ended = threading.Event()
        self._socks = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{'localhost' if tls else '127.0.0.1'}:{self.port}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._socks:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(patient(5))

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            script = self._scripts[min(self.connections, len(self._scripts) - 1)]
            self.connections += 1
            thread = threading.Thread(target=self._play, args=(script, sock), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _play(self, script, sock):
        sock.settimeout(10)
        try:
            with suppress(OSError):
                if self._tls:
                    sock = self._tls.wrap_socket(sock, server_side=True)
                self._socks.append(sock)
                script(Line(sock, self._ended, self.asked))
        finally:
            sock.close()


def says(*answers):
    """Script: read a request, send the next answer, keep the connection while there are more."""

    def script(line):
        for data in answers:
            line.read_request()
            line.send(data)

    return script


def always(data):
    """Script: the same answer to every request on a kept connection."""

    def script(line):
        while True:
            line.read_request()
            line.send(data)

    return script


def certificate(folder, name="localhost"):
    """Make a self-signed certificate; return (server's context, path of the certificate)."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", key, "-out", cert, "-days", "2", "-subj", f"/CN={name}",
         "-addext", f"subjectAltName=DNS:{name}"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context, str(cert)
