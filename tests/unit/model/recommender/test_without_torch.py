"""The live half answers where torch, transformers, pyspark, feast and dagster are not installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import synthetic

from feature_repo.contract.settings import load_settings
from model.config import make_config
from model.recommender import artifact
from model.recommender.loaded_model import load_model
from model.recommender.train import train

CODE = """
import json, sys
from pathlib import Path

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "transformers", "pyspark", "feast", "dagster", "delta"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
import streaming.__main__, streaming.commands, streaming.consumer.app, streaming.consumer.consumer
import streaming.http.server, streaming.intents.worker, streaming.topics.dead_letters, streaming.topics.lag
from feature_repo.contract.settings import load_settings
from model.recommender.loaded_model import load_model

home, folder = map(Path, sys.argv[1:])
model = load_model(load_settings(None, {}, {"home": home}), folder)
found = model.recommend([["i3", "i4", "news"], ["i9"], []], 5)
print(json.dumps([[one.scored.items, one.scored.scores, one.intent.short.text] for one in found]))
"""


@pytest.mark.parametrize("backbone", ["sasrec", "gru4rec"])
def test_a_saved_model_answers_the_same_without_torch(tmp_path: Path, backbone: str) -> None:
    config = make_config({"dim": 8, "epochs": 1, "max_length": 6, "backbone": backbone})
    folder = artifact.save(train(synthetic.dataset(without=20), config), tmp_path / "model")
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path), str(folder)], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    model = load_model(load_settings(None, {}, {"home": tmp_path}), folder)
    here = [
        [one.scored.items, one.scored.scores, "" if one.intent is None else one.intent.short.text]
        for one in model.recommend([["i3", "i4", "news"], ["i9"], []], 5)
    ]
    assert json.loads(done.stdout.splitlines()[-1]) == json.loads(json.dumps(here))
