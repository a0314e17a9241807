"""Files that appear whole, one run at a time, and photos that changed."""
import contextlib
import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sohes.datasets.entity_index import EntityIndex
from sohes.pseudo_labels.shards import ShardFolder
from sohes.utils import files
from sohes.utils.errors import FileError, UsageError, os_error_sentence
from sohes.utils.files import fitting_name, whole_file
from sohes.utils.locks import sole_run
from sohes.utils.names import same_file
from sohes.utils.photo_files import changed_photo, photo_hash, photos_digest

# Holds the lock, says so and waits for a line.
HOLDER = """
import sys
from sohes.utils.locks import sole_run
with sole_run(sys.argv[1]):
    print('held', flush=True)
    {body}
    sys.stdin.readline()
"""
FORK = """
    import os, time
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
"""


def hold(out: Path, body: str = '') -> subprocess.Popen:
    root = str(Path(__file__).resolve().parents[2])
    process = subprocess.Popen(
        [sys.executable, '-c', HOLDER.format(body=body), str(out)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        start_new_session=True, env=dict(os.environ, PYTHONPATH=root))
    assert process.stdout.readline() == 'held\n'
    return process


def test_the_second_run_says_so_and_the_third_may_go_on(tmp_path):
    out = tmp_path / 'labels.json'
    process = hold(out)
    with pytest.raises(UsageError, match=f'another run .process {process.pid}'
                       ), sole_run(out):
        pass
    process.communicate('\n')
    with sole_run(out), pytest.raises(UsageError, match='this process'), \
            sole_run(out):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
def test_the_lock_dies_with_its_owner_not_with_its_children(tmp_path):
    """A loader's forked worker lives a little longer than a killed run."""
    out = tmp_path / 'run'
    process = hold(out, FORK)
    process.kill()
    process.wait()
    try:
        with sole_run(out):
            pass
    finally:
        with contextlib.suppress(ProcessLookupError):  # ended by itself
            os.killpg(process.pid, 9)
    assert not list(tmp_path.iterdir())


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    """It came with a folder from somebody else; it leads to a diary."""
    diary = tmp_path / 'diary'
    diary.write_text('dear')
    (tmp_path / '.a.json.lock').symlink_to(diary)
    with pytest.raises(OSError) as error, sole_run(tmp_path / 'a.json'):
        pass
    assert 'this is a link' in os_error_sentence(error.value)
    (tmp_path / 'a.json.parts').symlink_to(tmp_path)
    shards = ShardFolder(tmp_path / 'a.json', {}, ['a.jpg'], 1)
    for act in shards.remove, shards.open:
        with pytest.raises(ValueError, match='a.json.parts is a link'):
            act()
    (tmp_path / 'b.json').write_text('{}')
    (tmp_path / 'b.json.index.lock').symlink_to(diary)
    with pytest.raises(FileError, match='index.lock is a link'):
        EntityIndex.open(tmp_path / 'b.json')
    assert diary.read_text() == 'dear'


def test_drafts_of_killed_processes_are_removed(tmp_path):
    code = ('import os, sys\nfrom pathlib import Path\n'
            'from sohes.utils.files import whole_file\n'
            'with whole_file(Path(sys.argv[1])) as file:\n'
            '    os.kill(os.getpid(), 9)\n')
    root = str(Path(__file__).resolve().parents[2])
    path = tmp_path / 'a.json'
    subprocess.run([sys.executable, '-c', code, str(path)],
                   env=dict(os.environ, PYTHONPATH=root))
    assert len(list(tmp_path.iterdir())) == 1
    with whole_file(path) as other, whole_file(path) as file:
        other.write('mine')  # a draft that is being written stays
        file.write('theirs')
    assert [p.name for p in tmp_path.iterdir()] == ['a.json']
    assert path.read_text() == 'mine'


def test_drafts_of_folders_are_removed_too(tmp_path):
    done = subprocess.run(['sh', '-c', 'echo $$'], capture_output=True,
                          text=True)
    report = tmp_path / 'report'
    mine = files.draft_prefix(report)
    left = mine.replace(f'-{os.getpid()}-', f'-{done.stdout.strip()}-')
    for name in (left, mine):
        (tmp_path / f'{name}x' / 'images').mkdir(parents=True)
    files.draft_prefix(report)
    assert [p.name for p in tmp_path.iterdir()] == [f'{mine}x']


def test_a_full_disk_names_the_file_and_leaves_nothing(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(files.os, 'fsync', full)
    with pytest.raises(OSError) as caught, \
            whole_file(tmp_path / 'a.json') as file:
        file.write('text')
    assert caught.value.filename == str(tmp_path / 'a.json')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('name', ['a' * 255, 'ä' * 127, 'b' * 240 + '.json'])
def test_names_as_long_as_a_file_system_allows(tmp_path, name):
    with whole_file(tmp_path / name) as file:
        file.write('text')
    assert (tmp_path / name).read_text() == 'text'
    longer, other = (fitting_name(text, '.jpg') for text in (name, f'c{name}'))
    assert longer != other
    (tmp_path / longer).touch()
    assert fitting_name('short', '.jpg') == 'short.jpg'


@pytest.mark.parametrize('one, other', [
    ('A.jpg', 'a.JPG'), ('\u00e9.jpg', 'e\u0301.jpg'), ('a/b.jpg', 'A/b.jpg'),
    ('\u00c9.jpg', 'e\u0301.jpg'), ('a/b.jpg', 'a//b.jpg'),
    ('a/b.jpg', './a/./b.jpg'), ('a/b.jpg', 'a\\b.jpg'),
    ('stra\u00dfe.jpg', 'STRASSE.jpg'), ('a./b.jpg', 'a/b.jpg. '),
])
def test_names_that_are_one_file_somewhere(one, other):
    assert same_file(['x.jpg', one, other]) == (one, other)
    assert same_file(['x.jpg', one, f'{other}.png']) is None


def test_a_photo_is_what_is_in_it(tmp_path):
    for folder in ('a', 'b'):
        (tmp_path / folder).mkdir()
    path = tmp_path / 'a' / '1.png'
    path.write_bytes(b'one')
    shutil.copy(path, tmp_path / 'b')
    known = [('1.png', photo_hash(path))]
    digest = photos_digest(tmp_path / 'a', ['1.png'])
    assert changed_photo(tmp_path / 'b', known) is None
    assert digest == photos_digest(tmp_path / 'b', ['1.png'])
    # Same name, same size, same time.
    other = tmp_path / 'b' / '1.png'
    other.write_bytes(b'two')
    shutil.copystat(path, other)
    assert changed_photo(tmp_path / 'b', known) == '1.png'
    assert digest != photos_digest(tmp_path / 'b', ['1.png'])
    assert changed_photo(tmp_path / 'nowhere', known) == '1.png'
    assert photo_hash(tmp_path) is None
