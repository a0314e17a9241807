"""Downloads arrive whole or not at all, and go on where they stopped."""
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sohes.weights.download import (
    DownloadError,
    download,
    recorded_sha256,
)

from .conftest import FileServer


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def files(folder: Path) -> list:
    """What lies in a folder, locks left out."""
    return sorted(p.name for p in folder.iterdir() if p.suffix != '.lock')


def test_a_whole_file_arrives(server: FileServer, tmp_path: Path) -> None:
    target = tmp_path / 'new' / 'folder' / 'vit.pth'
    assert download(server.url, target) == target
    assert target.read_bytes() == server.content
    assert files(target.parent) == ['vit.pth', 'vit.pth.sha256']
    assert recorded_sha256(target) == sha256(server.content)
    assert download(server.url, target) == target
    assert server.requests == [None]  # the second call asks nobody


def test_the_record_is_what_sha256sum_reads(server: FileServer,
                                            tmp_path: Path) -> None:
    download(server.url, tmp_path / 'vit.pth')
    assert (tmp_path / 'vit.pth.sha256').read_text() == (
        f'{sha256(server.content)}  vit.pth\n')


@pytest.mark.parametrize('etag', ['"one"', None])
def test_a_cut_line_is_taken_up_again(server: FileServer, etag: str,
                                      tmp_path: Path) -> None:
    server.etag = etag
    server.cut_after = [1_000_000, 2_000_000]
    target = download(server.url, tmp_path / 'vit.pth')
    assert target.read_bytes() == server.content
    assert server.requests == [None, 'bytes=1000000-', 'bytes=3000000-']
    assert files(tmp_path) == ['vit.pth', 'vit.pth.sha256']


def test_the_next_call_goes_on(server: FileServer, tmp_path: Path) -> None:
    server.cut_after = [1_500_000]
    target = tmp_path / 'vit.pth'
    with pytest.raises(DownloadError) as caught:
        download(server.url, target, attempts=1)
    assert not target.exists()
    for part in (server.url, str(target), '1.5 MB have arrived'):
        assert part in str(caught.value)
    assert download(server.url, target).read_bytes() == server.content
    assert server.requests == [None, 'bytes=1500000-']


def test_a_replaced_file_is_fetched_from_the_beginning(
        server: FileServer, tmp_path: Path) -> None:
    server.cut_after = [1_500_000]
    target = tmp_path / 'vit.pth'
    with pytest.raises(DownloadError):
        download(server.url, target, attempts=1)
    server.content, server.etag = server.content[::-1], '"two"'
    assert download(server.url, target).read_bytes() == server.content


def test_a_server_without_ranges(server: FileServer, tmp_path: Path) -> None:
    server.ranges, server.cut_after = False, [1_500_000]
    target = download(server.url, tmp_path / 'vit.pth')
    assert target.read_bytes() == server.content


@pytest.mark.parametrize('left_over', [0, 10])
def test_a_part_that_is_complete_or_too_long(server: FileServer,
                                             left_over: int,
                                             tmp_path: Path) -> None:
    """Killed between the last byte and the renaming; or a stray part."""
    part = tmp_path / 'vit.pth.part'
    part.write_bytes(server.content + bytes(left_over))
    target = download(server.url, tmp_path / 'vit.pth')
    assert target.read_bytes() == server.content
    assert not part.exists()


def test_a_wrong_hash_is_refused(server: FileServer, tmp_path: Path) -> None:
    target = tmp_path / 'vit.pth'
    with pytest.raises(DownloadError) as caught:
        download(server.url, target, sha256='0' * 64)
    for part in (server.url, '0' * 64, sha256(server.content)):
        assert part in str(caught.value)
    assert files(tmp_path) == []
    assert download(
        server.url, target, sha256=sha256(server.content)).is_file()


def test_the_first_hash_is_checked_afterwards(server: FileServer,
                                              tmp_path: Path) -> None:
    target = download(server.url, tmp_path / 'vit.pth')
    first = sha256(server.content)
    target.unlink()
    server.content, server.etag = b'something else', '"two"'
    with pytest.raises(DownloadError, match=first):
        download(server.url, target)
    (tmp_path / 'vit.pth.sha256').unlink()  # as the message advises
    assert download(server.url, target).read_bytes() == b'something else'


@pytest.mark.parametrize(('status', 'asked'), [(404, 1), (503, 3)])
def test_errors_of_the_server(server: FileServer, status: int, asked: int,
                              tmp_path: Path) -> None:
    server.status = status
    with pytest.raises(DownloadError) as caught:
        download(server.url, tmp_path / 'vit.pth')
    assert server.url in str(caught.value)
    assert str(tmp_path / 'vit.pth') in str(caught.value)
    assert len(server.requests) == asked


def test_a_login_page_is_not_kept(server: FileServer,
                                  tmp_path: Path) -> None:
    server.kind = 'text/html; charset=utf-8'
    with pytest.raises(DownloadError, match='found a web page'):
        download(server.url, tmp_path / 'vit.pth')
    assert files(tmp_path) == []


def test_offline_says_what_goes_where(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(('127.0.0.1', 0))
        url = f'http://127.0.0.1:{closed.getsockname()[1]}/vit.pth'
        with pytest.raises(DownloadError) as caught:
            download(url, tmp_path / 'vit.pth')
    assert f'cannot download {url}: ' in str(caught.value)
    assert str(caught.value).endswith(f'put it at {tmp_path / "vit.pth"}')
    assert isinstance(caught.value, ValueError)


def test_a_silent_server_is_given_up(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(('127.0.0.1', 0))
        silent.listen(8)
        url = f'http://127.0.0.1:{silent.getsockname()[1]}/vit.pth'
        start = time.monotonic()
        with pytest.raises(DownloadError, match='timed out'):
            download(url, tmp_path / 'vit.pth', timeout=0.2, attempts=2)
    assert time.monotonic() - start < 5


def start(url: str, target: Path) -> subprocess.Popen:
    code = ('import sys; from pathlib import Path; from '
            'sohes.weights.download import download; '
            'print("ready", flush=True); input(); '
            'download(sys.argv[1], Path(sys.argv[2]))')
    return subprocess.Popen([sys.executable, '-c', code, url, str(target)],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def go(process: subprocess.Popen) -> None:
    """Let it begin, once it has imported everything."""
    assert process.stdout.readline().strip() == b'ready'
    process.stdin.write(b'\n')
    process.stdin.flush()


@pytest.mark.slow
def test_several_processes_fetch_once(server: FileServer,
                                      tmp_path: Path) -> None:
    server.delay = 1.0  # long enough for both to find no file
    target = tmp_path / 'vit.pth'
    processes = [start(server.url, target) for _ in range(2)]
    for process in processes:
        go(process)
    for process in processes:
        process.communicate(timeout=120)
        assert process.returncode == 0
    assert target.read_bytes() == server.content
    assert server.requests == [None]


@pytest.mark.skipif(os.name == 'nt', reason='needs SIGKILL')
def test_a_killed_download_keeps_what_arrived(tmp_path: Path) -> None:
    content = os.urandom(300_000)
    target = tmp_path / 'vit.pth'
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        listener.listen()
        url = f'http://127.0.0.1:{listener.getsockname()[1]}/vit.pth'
        process = start(url, target)
        go(process)
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b'HTTP/1.1 200 OK\r\nETag: "one"\r\n'
                               b'Content-Length: 9000000\r\n\r\n' + content)
            deadline = time.monotonic() + 60
            part = tmp_path / 'vit.pth.part'
            while not (part.exists() and part.stat().st_size):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=60)
    kept = part.read_bytes()
    assert kept and content.startswith(kept)
    assert not target.exists()
