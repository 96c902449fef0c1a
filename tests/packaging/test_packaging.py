"""The built package, installed outside the checkout, runs from an empty folder."""

from __future__ import annotations

import shutil
import site
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.packaging
ROOT = Path(__file__).resolve().parents[2]
QUICK = ("data.num_users=200", "data.num_items=60", "trainer.n_epoch=1")


def sh(*command: object, cwd: Path) -> str:
    done = subprocess.run(
        [str(c) for c in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tracked files: nothing that only this checkout has can help."""
    target = tmp_path_factory.mktemp("tree") / "rechub"
    for name in sh("git", "ls-files", cwd=ROOT).split("\n"):
        if name and (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name, follow_symlinks=False)
    return target


@pytest.fixture(scope="module")
def built(tree: Path) -> Path:
    sh(sys.executable, "-m", "build", "--no-isolation", tree, cwd=tree.parent)
    return tree / "dist"


def make_venv(folder: Path) -> Path:
    """A venv that borrows this one's dependencies, so that a test takes seconds, not gigabytes."""
    sh(sys.executable, "-m", "venv", folder, cwd=folder.parent)
    target = next((folder / "lib").glob("python*")) / "site-packages"
    borrowed = [p for p in site.getsitepackages() if Path(p).is_dir()]
    (target / "borrowed.pth").write_text("\n".join(borrowed) + "\n")
    return folder / "bin"


def run_quick(bin_dir: Path, folder: Path) -> None:
    folder.mkdir()
    where = sh(
        bin_dir / "python", "-c", "import rechub_cli; print(rechub_cli.__file__)", cwd=folder
    )
    assert str(ROOT) not in where
    sh(bin_dir / "rechub", "train", "model=mind", *QUICK, cwd=folder)
    (run,) = folder.glob("runs/demo-mind/*")
    assert (run / "export" / "user_tower.onnx").exists()
    assert (run / "metrics.json").exists()
    recipe = sh(bin_dir / "rechub", "check", "recipe=ml_100k_dssm", "--cfg", "job", cwd=folder)
    assert "name: ml_100k" in recipe
    asked = "import rechub_cli.recipes as r, rechub_cli.config.locate as l; "
    asked += "print(r.expectation(l.conf_dir() / 'recipe' / 'ml_100k_dssm.yaml')['seeds'])"
    assert sh(bin_dir / "python", "-c", asked, cwd=folder) == "[0, 1, 2]\n"


def test_wheel_and_sdist_carry_the_configuration(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    (sdist,) = built.glob("*.tar.gz")
    options = sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "conf").rglob("*.yaml"))
    assert options
    recipes = sorted(p.name for p in (ROOT / "recipes").iterdir())
    options += [f"conf/recipe/{name}" for name in recipes]
    names = zipfile.ZipFile(wheel).namelist()
    for option in options:
        assert f"rechub_cli/{option}" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert "rechub_cli/py.typed" in names
    with tarfile.open(sdist) as archive:
        inside = {name.split("/", 1)[-1] for name in archive.getnames()}
    assert {f"recipes/{name}" for name in recipes} <= inside
    assert {*options, "LICENSE", "CHANGELOG.md", "constraints.txt", "Makefile"} <= inside


def test_wheel_runs_from_an_empty_folder(built: Path, tmp_path: Path) -> None:
    bin_dir = make_venv(tmp_path / "venv")
    (wheel,) = built.glob("*.whl")
    sh(bin_dir / "python", "-m", "pip", "install", "-q", "--no-deps", wheel, cwd=tmp_path)
    run_quick(bin_dir, tmp_path / "empty")


def test_wheel_of_the_sdist_is_the_wheel_of_the_tree(built: Path, tmp_path: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    sh("tar", "-xzf", sdist, "-C", tmp_path, cwd=tmp_path)
    (source,) = (p for p in tmp_path.iterdir() if p.is_dir())
    sh(
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--wheel",
        "--outdir",
        tmp_path / "dist",
        source,
        cwd=tmp_path,
    )
    (again,) = (tmp_path / "dist").glob("*.whl")
    (wheel,) = built.glob("*.whl")
    assert zipfile.ZipFile(again).namelist() == zipfile.ZipFile(wheel).namelist()


def test_editable_install_runs_from_an_empty_folder(tree: Path, tmp_path: Path) -> None:
    bin_dir = make_venv(tmp_path / "venv")
    sh(
        bin_dir / "python",
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-e",
        tree,
        cwd=tmp_path,
    )
    run_quick(bin_dir, tmp_path / "empty")
