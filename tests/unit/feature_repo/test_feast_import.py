"""Importing the contract changes nothing in a process; importing Feast through us leaves typeguard as it
was.
"""

import subprocess
import sys


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_settings_leaves_the_import_system_alone():
    code = (
        "import sys; before = list(sys.meta_path); import feature_repo.contract.settings; print(before == "
        "list(sys.meta_path), 'feast' in sys.modules)"
    )
    assert run(code) == "True False"


def test_feast_imported_by_us_has_no_runtime_checks_and_typeguard_keeps_its_own():
    code = (
        "from feature_repo.feast_import import import_feast; import typeguard; before = "
        "typeguard.typechecked; import_feast()\n"
        "import feast; feast.Entity(name='a', description=3); print(typeguard.typechecked is before)"
    )
    assert run(code) == "True"
