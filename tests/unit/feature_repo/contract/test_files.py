"""A file is the old one or the new one, whatever happens between."""

from __future__ import annotations

import pytest

from feature_repo.contract.files import replace_file, replacing


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    file = tmp_path / "deep" / "a.json"
    replace_file(file, "old")
    with pytest.raises(OSError, match="disk full"), replacing(file) as part:
        part.write_text("half")
        raise OSError("disk full")
    assert file.read_text() == "old"
    assert list(file.parent.iterdir()) == [file]


def test_no_reader_that_looks_for_the_ending_sees_the_unfinished_file(tmp_path):
    with replacing(tmp_path / "a.jsonl", durable=True) as part:
        part.write_bytes(b"{}")
        assert part.parent == tmp_path and not list(tmp_path.glob("*.jsonl"))
    assert (tmp_path / "a.jsonl").read_bytes() == b"{}"
