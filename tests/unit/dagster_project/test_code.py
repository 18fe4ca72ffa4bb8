"""Code versions are computed of what a module imports, so that no list can forget a file."""

import shutil
from pathlib import Path

import pytest

from dagster_project import code
from dagster_project.models import train as training_run


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A copy of the project's code that a test may edit."""
    for package in code.PACKAGES:
        shutil.copytree(code.ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code, "ROOT", tmp_path)
    forget()
    yield tmp_path
    forget()


def forget() -> None:
    for cached in (code._imports, code._file_of, code._data_files):
        cached.cache_clear()


def names(module: str) -> set[str]:
    return {str(file.relative_to(code.ROOT)) for file in code.sources(module)}


def edit(file: Path) -> None:
    file.write_text(file.read_text() + "\n# edited\n")
    forget()


def test_every_file_that_a_model_is_made_by_changes_its_code_version(tree):
    made_by = [file for file in code.sources(training_run.__name__) if "model" in file.parts]
    assert len(made_by) > 40
    # a part of the mix, and a backbone chosen by its name
    assert {"text.py", "stamp.py"} <= {file.name for file in made_by}
    for file in made_by:
        before = code.code_version(training_run.__name__)
        edit(file)
        assert code.code_version(training_run.__name__) != before, file


def test_code_that_a_job_does_not_import_leaves_its_version(tree):
    before = code.code_version("spark_jobs.sessions.cut")
    edit(tree / "streaming" / "__main__.py")
    edit(tree / "model" / "__init__.py")
    assert code.code_version("spark_jobs.sessions.cut") == before


def test_imports_inside_functions_by_name_and_as_a_program_count(tree):
    chosen = tree / "model" / "chosen.py"
    chosen.write_text("", encoding="utf-8")
    program = tree / "model" / "asker.py"
    forms = (
        "def run():\n    from model import (\n        chosen,  # said here\n    )\n",
        "import model.chosen as other\n",
        'loaded = import_module("model.chosen")\n',
        'store = {"type": "model.chosen.Store"}\n',
    )
    for form in forms:
        program.write_text(form, encoding="utf-8")
        forget()
        assert "model/chosen.py" in names("model.asker"), form
    program.write_text('command = [sys.executable, "-m", "streaming", "consume"]\n', encoding="utf-8")
    forget()
    assert "streaming/__main__.py" in names("model.asker")


def test_imports_for_types_alone_do_not_count(tree):
    (tree / "model" / "chosen.py").write_text("", encoding="utf-8")
    text = (
        "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from model import chosen\n\n    import "
        "model.chosen\n\nimport model\n"
    )
    (tree / "model" / "asker.py").write_text(text, encoding="utf-8")
    forget()
    assert names("model.asker") == {"model/__init__.py", "model/asker.py"}


def test_data_files_beside_a_module_are_part_of_its_code():
    assert "feature_repo/stores/packed/newer_wins.lua" in names("feature_repo.registry.materialize")


def test_a_name_that_is_no_module_is_refused():
    with pytest.raises(ModuleNotFoundError, match="'model.nowhere' is no module"):
        code.code_version("model.nowhere")
