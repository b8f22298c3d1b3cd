"""
`fustor new-driver`: packages that are whole, clean and work at once; odd names and folders that exist are refused.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from fustor_cli.main import _run
from fustor_cli.scaffold.names import LONGEST, DriverNames, Kind, driver_names
from fustor_cli.scaffold.write import compatible_with, package_files, write_driver
from fustor_core.errors import ConfigError, InvalidRequest, StateConflictError

LICENSE = Path(__file__).parents[3] / "LICENSE"


def run(*command: str, cwd: Path) -> str:
    env = {**os.environ, "PYTHONPATH": str(cwd / "src")}
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("kind", list(Kind))
def test_the_tests_of_a_new_package_pass_and_its_code_is_clean(kind: Kind, tmp_path: Path) -> None:
    """
    As written: conformance and own tests, mypy in strict mode, ruff.
    """
    folder = write_driver(driver_names(kind, "my-shop"), tmp_path)

    assert folder == tmp_path / f"fustor-{kind}-my-shop"
    assert " passed" in run("pytest", "-q", "-p", "no:cacheprovider", cwd=folder)
    run("mypy", "--cache-dir", str(tmp_path / "mypy"), cwd=folder)


@pytest.mark.parametrize("name", ["a", "m" * LONGEST])
@pytest.mark.parametrize("kind", list(Kind))
def test_the_code_is_formatted_however_long_the_name(kind: Kind, name: str, tmp_path: Path) -> None:
    """
    Linter and formatter have nothing to say, for the shortest name and the longest.
    """
    folder = write_driver(driver_names(kind, name), tmp_path)
    run("ruff", "check", "--no-cache", ".", cwd=folder)
    run("ruff", "format", "--no-cache", "--check", ".", cwd=folder)


@pytest.mark.parametrize("kind", list(Kind))
def test_a_package_has_all_that_a_package_needs(kind: Kind, tmp_path: Path) -> None:
    """
    Entry point, bounds of the contract it was written for, licence, description, typing marker; no placeholder is left.
    """
    folder = write_driver(driver_names(kind, "my-shop"), tmp_path)
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]

    assert project["name"] == f"fustor-{kind}-my-shop"
    points = project["entry-points"][f"fustor.drivers.{kind}s"]
    assert points == {"my_shop": f"fustor_{kind}_my_shop:MyShop{kind.capitalize()}"}
    assert f"fustor-core{compatible_with(version('fustor-core'))}" in project["dependencies"]
    assert (folder / "LICENSE").read_text() == LICENSE.read_text()
    assert (folder / "src" / f"fustor_{kind}_my_shop" / "py.typed").is_file()
    assert "driver: my_shop" in (folder / "README.md").read_text()
    assert (folder / ".gitignore").is_file()
    assert not [
        path for path in folder.rglob("*") if path.is_file() and ("$" in path.read_text() or ".tmpl" in path.name)
    ]


@pytest.mark.parametrize(
    ("installed", "bounds"),
    [("0.1.0", ">=0.1,<0.2"), ("0.3.2.dev1", ">=0.3,<0.4"), ("2.5.1", ">=2.5,<3"), ("odd", "==odd")],
)
def test_bounds_follow_the_contract_that_is_installed(installed: str, bounds: str) -> None:
    assert compatible_with(installed) == bounds


@pytest.mark.parametrize(
    ("given", "package", "class_name"),
    [
        ("shop", "fustor_source_shop", "ShopSource"),
        ("my-shop", "fustor_source_my_shop", "MyShopSource"),
        ("class", "fustor_source_class", "ClassSource"),
        ("s3_v2", "fustor_source_s3_v2", "S3V2Source"),
        ("sourcery", "fustor_source_sourcery", "SourcerySource"),
    ],
)
def test_names_that_can_be(given: str, package: str, class_name: str) -> None:
    names = driver_names(Kind.SOURCE, given)

    assert (names.package, names.class_name) == (package, class_name)
    assert names.distribution == package.replace("_", "-")


@pytest.mark.parametrize(
    ("given", "better"),
    [
        ("MyShop", "'my_shop'"),
        ("my shop", "'my_shop'"),
        ("my--shop", "'my_shop'"),
        ("-shop", "'shop'"),
        ("2shop", "'shop'"),
        ("../shop", "'shop'"),
        ("shop.py", "'shop_py'"),
        ("shop\n", "'shop'"),
        ("$name", "'name'"),
        ("fustor-source-shop", "'shop'"),
        ("Source-Shop", "'shop'"),
        ("pusher_shop", "'shop'"),
        ("source", "name what it reads"),
        ("商店", "a short word"),
        ("", "a short word"),
        ("m" * (LONGEST + 1), "'" + "m" * LONGEST + "'"),
    ],
)
def test_odd_names_are_refused_and_a_better_one_is_named(given: str, better: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        driver_names(Kind.SOURCE, given)

    assert repr(given) in caught.value.message
    assert better in caught.value.hint
    if "call it" in caught.value.hint:
        driver_names(Kind.SOURCE, better.strip("'"))


def test_the_name_of_an_installed_driver_is_refused() -> None:
    """
    Two drivers of one name: only one could be used. A source may be called like a pusher.
    """
    with pytest.raises(StateConflictError, match="fustor-source-mysql"):
        driver_names(Kind.SOURCE, "mysql")
    assert driver_names(Kind.PUSHER, "mysql")


@pytest.mark.parametrize("there", ["folder", "full folder", "file", "dangling link"])
def test_what_exists_is_never_overwritten(there: str, tmp_path: Path) -> None:
    target = tmp_path / "fustor-source-shop"
    if there == "file":
        target.write_text("mine")
    elif there == "dangling link":
        target.symlink_to(tmp_path / "elsewhere")
    else:
        target.mkdir()
        if there == "full folder":
            (target / "pyproject.toml").write_text("mine")

    with pytest.raises(StateConflictError, match="left as it is"):
        write_driver(DriverNames(Kind.SOURCE, "shop"), tmp_path)

    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    assert len(found) == (2 if there == "full folder" else 1)
    assert there != "full folder" or (target / "pyproject.toml").read_text() == "mine"


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        write_driver(DriverNames(Kind.SOURCE, "shop"), tmp_path / "nowhere")


def test_half_a_package_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    When the disk is full in the midst of writing, nothing is left that only looks like a package.
    """
    write, written = Path.write_text, []

    def fails_at_third(self: Path, *rest: object) -> int:
        written.append(self)
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        return write(self, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "write_text", fails_at_third)
    with pytest.raises(ConfigError, match="No space left"):
        write_driver(DriverNames(Kind.PUSHER, "shop"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_file_comes_twice_or_lies_outside() -> None:
    for kind in Kind:
        paths = [path for path, _ in package_files(DriverNames(kind, "shop"))]
        assert len(paths) == len(set(paths))
        assert {"driver.py", "params.py", "py.typed", "test_conformance.py"} <= {path.name for path in paths}
        assert not [path for path in paths if path.is_absolute() or ".." in path.parts]


def test_the_command_says_what_it_did_and_what_comes_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(["new-driver", "pusher", "shop", "--dir", str(tmp_path)], debug=False, as_json=False) == 0
    said = capsys.readouterr().out
    assert f"cd {tmp_path / 'fustor-pusher-shop'}" in said
    assert "pip install" in said
    assert "pytest" in said

    assert _run(["new-driver", "pusher", "shop", "--dir", str(tmp_path)], debug=False, as_json=False) == 1
    assert "exists already" in capsys.readouterr().err
    assert _run(["new-driver", "view", "shop"], debug=False, as_json=False) == 2
    assert "source" in capsys.readouterr().err
