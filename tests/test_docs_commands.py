"""Commands in docs/faq.md name programs and files that exist."""
import re
from pathlib import Path


def test_every_command_of_the_faq_exists(repo_root: Path) -> None:
    text = (repo_root / 'docs/faq.md').read_text()
    blocks = re.findall(r'```bash\n(.*?)```', text, re.DOTALL)
    makefile = (repo_root / 'Makefile').read_text()
    paths, options = set(), []
    for block in blocks:
        for line in block.replace('\\\n', ' ').splitlines():
            line = line.split('#')[0]
            if target := re.match(r'make (\w+)', line):
                assert f'\n{target[1]}:' in makefile
                continue
            found = re.findall(r'(?:tools|configs|benchmarks)/\S+', line)
            assert found, line
            paths.update(found)
            options += [(found[0], word) for word in line.split()
                        if word.startswith('--')]
    for path in paths:
        assert (repo_root / path).is_file(), path
    sources = ''.join(path.read_text() for folder in ('tools', 'sohes')
                      for path in (repo_root / folder).rglob('*.py'))
    for program, option in options:
        assert f"'{option}'" in sources, (program, option)
