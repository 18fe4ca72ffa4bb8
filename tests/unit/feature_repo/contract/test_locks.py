"""One process at a time: others wait, and the death of the holder frees the lock."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from feature_repo.contract.files import only_one, only_writer
from feature_repo.contract.settings import load_settings

HOLDER = """
import sys, time
from pathlib import Path
from feature_repo.contract.files import only_one
with only_one(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_killed_holder_frees_the_lock_and_nobody_enters_before(tmp_path, caplog):
    caplog.set_level(logging.INFO, "intentstore.locks")
    lock = tmp_path / "new folder" / "table.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        entered = threading.Event()

        def enter():
            with only_one(lock):
                entered.set()

        waiting = threading.Thread(target=enter)
        waiting.start()
        assert not entered.wait(0.2)
        assert f"another process holds '{lock}'" in caplog.text
        holder.send_signal(signal.SIGKILL)
        waiting.join(10)
    assert entered.is_set()


def test_two_tables_do_not_wait_for_each_other(tmp_path):
    settings = load_settings(Path(os.devnull), {}, {"home": str(tmp_path)})
    with only_writer(settings, "clicks"), only_writer(settings, "sessions"):
        assert {file.name for file in (tmp_path / "spark" / "locks").iterdir()} == {
            "clicks.write",
            "sessions.write",
        }
