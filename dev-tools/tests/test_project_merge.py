"""
Tests of `dev-tools/project_merge.py`, run the way the contributor guide runs it: as a script, with plain Python.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "project_merge.py"


def run(folder: Path, *options: str, cwd: Path, git: bool = True) -> subprocess.CompletedProcess[bytes]:
    """
    Run the script isolated from the environment (-I): it may need nothing but Python.
    """
    env = dict(os.environ)
    if not git:
        env["PATH"] = ""
    # -I keeps the script's own folder off the path, so it is named; -S drops every installed package.
    bootstrap = f"import sys, runpy; sys.path.insert(0, {str(SCRIPT.parent)!r}); sys.argv = sys.argv[1:]; runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    command = [sys.executable, "-I", "-S", "-c", bootstrap, str(SCRIPT), str(folder), *options]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, check=False)


def merged(folder: Path, *options: str, cwd: Path, git: bool = True) -> str:
    done = run(folder, "--output", "-", *options, cwd=cwd, git=git)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def names(text: str) -> list[str]:
    return [line.split("===== ")[1].rsplit(" (", 1)[0] for line in text.splitlines() if line.startswith("===== ")]


def make(root: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def git_init(root: Path) -> None:
    subprocess.run(["git", "init", "-q", str(root)], check=True)


def test_the_guides_command_merges_code_and_docs_in_a_fixed_order(tmp_path: Path) -> None:
    """
    `python dev-tools/project_merge.py ./src` writes one file with each file's path and whole content, twice the same.
    """
    make(
        tmp_path / "src",
        {"b.py": "print('b')\n", "a/x.md": "# x", "a.toml": "k = 1\n", "picture.png": b"\x89PNG", "a/z.py": ""},
    )
    outputs = []
    for _ in range(2):
        done = subprocess.run([sys.executable, str(SCRIPT), "./src"], cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        outputs.append((tmp_path / "project_merged.txt").read_text())

    assert outputs[0] == outputs[1]
    assert names(outputs[0]) == ["a/x.md", "a/z.py", "a.toml", "b.py"]
    assert "===== b.py (1 lines) =====\nprint('b')\n" in outputs[0]
    assert "===== a/x.md (1 lines) =====\n# x\n" in outputs[0]


def test_its_own_output_is_never_merged(tmp_path: Path) -> None:
    """
    An output that lies in the merged folder, under the present or an earlier name, does not come back in.
    """
    make(tmp_path, {"a.py": "1\n"})
    for name in ("project_merged.txt", "other.txt", "project_merged.txt"):
        assert run(tmp_path, "--output", name, cwd=tmp_path).returncode == 0
    text = (tmp_path / "project_merged.txt").read_text()
    assert names(text) == ["a.py"]
    assert "#   other.txt: an earlier output of project_merge.py" in text


@pytest.mark.parametrize("git", [True, False], ids=["git", "without git"])
def test_gitignore_is_honoured_also_nested(tmp_path: Path, git: bool) -> None:
    """
    Ignored files and folders stay out, a negation brings back, a nested .gitignore speaks for its folder only.
    """
    make(
        tmp_path,
        {
            ".gitignore": "*.txt\n!keep.txt\n/build/\nlogs/\n",
            "a.py": "",
            "b.txt": "",
            "keep.txt": "",
            "build/x.py": "",
            "pkg/build/y.py": "",
            "pkg/logs/z.py": "",
            "pkg/.gitignore": "secret.py\n!b.txt\n",
            "pkg/secret.py": "",
            "pkg/b.txt": "",
            "secret.py": "",
        },
    )
    git_init(tmp_path)
    expected = ["a.py", "keep.txt", "pkg/b.txt", "pkg/build/y.py", "secret.py"]
    assert names(merged(tmp_path, cwd=tmp_path, git=git)) == expected
    assert names(merged(tmp_path / "pkg", cwd=tmp_path, git=git)) == ["b.txt", "build/y.py"]


def test_a_tree_outside_git_honours_its_gitignore_too(tmp_path: Path) -> None:
    """
    A folder that was never under git is walked, and its .gitignore holds.
    """
    make(tmp_path, {".gitignore": "node_modules\n", "a.js": "", "node_modules/b.js": ""})
    assert names(merged(tmp_path, cwd=tmp_path)) == ["a.js"]


def test_own_gitignore_rules_agree_with_git(tmp_path: Path) -> None:
    """
    For random patterns and trees the script without git takes exactly the files that git would.
    """
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    parts = ["a", "b", "ab", "a.py", "b.py", "[x].py", "#c.py", "!d.py", "dir", "sp ace.py"]
    atoms = [
        "a",
        "b",
        "*",
        "**",
        "***",
        "?",
        "/",
        "/",
        "dir",
        ".py",
        "[ab]",
        "[!a]",
        "[a-c]",
        "[[:alpha:]]",
        "\\#",
        "\\!",
        "\\[",
        "*.py",
        " ",
        "#",
        "!",
    ]
    for turn in range(30):
        root = tmp_path / str(turn)
        for _ in range(14):
            where = root.joinpath(
                *(chance.choice(parts) for _ in range(chance.randint(0, 3))), f"{chance.choice(parts)}.py"
            )
            if not any(up.is_file() for up in where.parents if up != tmp_path) and not where.is_dir():
                where.parent.mkdir(parents=True, exist_ok=True)
                where.write_text("")
        patterns = [
            "".join(chance.choice(atoms) for _ in range(chance.randint(1, 4))) for _ in range(chance.randint(1, 4))
        ]
        (root / ".gitignore").write_text("\n".join(patterns) + "\n")
        git_init(root)
        assert names(merged(root, cwd=tmp_path, git=False)) == names(merged(root, cwd=tmp_path)), (turn, patterns)
        shutil.rmtree(root)


def test_binary_oversized_and_links_are_left_out_with_the_reason(tmp_path: Path) -> None:
    """
    What can't be merged is named with its reason, and nothing is followed out of the tree.
    """
    make(tmp_path, {"src/ok.py": "ok\n", "src/bin.py": b"a\0b", "src/big.py": "x" * 2000})
    (tmp_path / "outside.py").write_text("outside")
    (tmp_path / "src/link.py").symlink_to(tmp_path / "outside.py")
    os.mkfifo(tmp_path / "src/pipe.py")
    text = merged(tmp_path / "src", "--max-size", "1000", cwd=tmp_path)
    assert names(text) == ["ok.py"]
    for line in (
        "bin.py: binary",
        "big.py: larger than 1000 bytes (2000)",
        "link.py: symbolic link",
        "pipe.py: not a regular file",
    ):
        assert f"#   {line}\n" in text


def test_text_that_is_not_utf8_is_converted_and_noted(tmp_path: Path) -> None:
    """
    Latin-1 and UTF-16 sources come out readable, in an output that is valid UTF-8, and so does a name that is not.
    """
    make(
        tmp_path / "src",
        {
            "l.py": "# caf\u00e9\n".encode("latin-1"),
            "u.py": "# \u4f60\u597d\n".encode("utf-16"),
            "w.py": b"\xef\xbb\xbfbom\n",
        },
    )
    (Path(os.fsdecode(os.fsencode(tmp_path / "src") + b"/n\xff.py"))).write_text("n\n")
    text = merged(tmp_path / "src", cwd=tmp_path)
    assert "===== l.py (1 lines, converted from latin-1) =====\n# caf\u00e9\n" in text
    assert "===== u.py (1 lines, converted from utf-16) =====\n# \u4f60\u597d\n" in text
    assert "===== w.py (1 lines) =====\nbom\n" in text
    assert "n\\xff.py" in names(text)


def test_extensions_and_all_choose_the_files(tmp_path: Path) -> None:
    """
    --extensions narrows, --all takes every text file, also one without an ending.
    """
    make(tmp_path / "src", {"a.py": "", "b.RS": "", "Makefile": "", "c.bin": b"\0"})
    assert names(merged(tmp_path / "src", "--extensions", "rs, .zz", cwd=tmp_path)) == ["b.RS"]
    assert names(merged(tmp_path / "src", "--all", cwd=tmp_path)) == ["Makefile", "a.py", "b.RS"]


def test_mistakes_are_answered_with_a_sentence(tmp_path: Path) -> None:
    """
    A folder that does not exist and an output that can't be written end in one clear line and a bad exit status.
    """
    done = run(tmp_path / "nowhere", cwd=tmp_path)
    assert done.returncode == 2
    assert b"is not a folder" in done.stderr
    done = run(tmp_path, "--output", str(tmp_path / "no" / "where.txt"), cwd=tmp_path)
    assert done.returncode == 2
    assert b"does not exist" in done.stderr
