"""A server on this machine that cuts, refuses and replaces files."""
import http.server
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest


@dataclass
class FileServer:
    """Serves one file; what it shall do wrong is set by the test.

    Attributes:
        content: the file.
        etag: its validator, None for a server without.
        cut_after: bytes after which the next answers break off, one each.
        kind: Content-Type of the file.
        status: answer with this error instead.
        delay: seconds before it answers.
        ranges: whether Range is understood.
        requests: the Range header of each request so far.
    """
    content: bytes = bytes(range(256)) * 20000
    etag: str | None = '"one"'
    cut_after: list[int] = field(default_factory=list)
    kind: str = 'application/octet-stream'
    status: int | None = None
    delay: float = 0
    ranges: bool = True
    requests: list[str | None] = field(default_factory=list)
    url: str = ''


@pytest.fixture
def server() -> Iterator[FileServer]:
    """A running FileServer; ``url`` is where its file is."""
    state = FileServer()

    class Handler(http.server.BaseHTTPRequestHandler):

        def do_GET(self) -> None:
            span = self.headers.get('Range')
            state.requests.append(span)
            if state.status:
                self.send_error(state.status)
                return
            time.sleep(state.delay)
            start, total = 0, len(state.content)
            current = self.headers.get('If-Range') in (None, state.etag)
            if span and state.ranges and current:
                start = int(span[len('bytes='):-1])
                if start >= total:
                    self.send_response(416)
                    self.send_header('Content-Range', f'bytes */{total}')
                    self.send_header('Content-Length', '0')
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header('Content-Range',
                                 f'bytes {start}-{total - 1}/{total}')
            else:
                self.send_response(200)
            self.send_header('Content-Type', state.kind)
            self.send_header('Content-Length', str(total - start))
            if state.etag:
                self.send_header('ETag', state.etag)
            self.end_headers()
            end = total
            if state.cut_after:
                end = min(total, start + state.cut_after.pop(0))
            self.wfile.write(state.content[start:end])

        def log_message(self, *_: object) -> None:
            pass

    httpd = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    state.url = f'http://127.0.0.1:{httpd.server_port}/vit_pretrain.pth'
    yield state
    httpd.shutdown()
    httpd.server_close()
    thread.join()
