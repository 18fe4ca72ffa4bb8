"""The form of SASRec that reads single prefixes gives what the network gives."""

import numpy as np
import pytest
import torch

from model.config import make_config
from model.data.sequences import Sequences
from model.network.backbones.base import Clicks
from model.network.backbones.sasrec import SASRec, SASRecRow
from model.network.batches import pad
from model.network.network import Network
from model.network.scorer import NetworkScorer


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("clicks", [1, 2, 9, 50])
def test_row_equals_the_network_after_the_last_click(heads, clicks):
    torch.manual_seed(heads)
    backbone = SASRec(make_config({"dim": 32, "layers": 1, "heads": heads})).eval()
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    vectors = torch.randn(1, clicks, 32)
    with torch.no_grad():
        wanted = backbone.encode(
            Clicks(torch.zeros(1, clicks, dtype=torch.int64), torch.tensor([clicks])), vectors, last_only=True
        )[0][0].numpy()
    np.testing.assert_allclose(SASRecRow(backbone)(vectors[0].numpy()), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("score", ["dot", "cosine"])
def test_scorer_uses_it_for_single_prefixes_of_any_length(score):
    config = make_config({"dim": 16, "layers": 1, "score": score, "max_length": 5})
    torch.manual_seed(0)
    scorer = NetworkScorer(Network(config, 30).eval(), config)
    assert scorer.row is not None
    for prefix in ([3], [1, 2, 3], list(range(12))):
        sequences = Sequences.of([prefix])
        with torch.no_grad():
            wanted = scorer.network.encode(pad(sequences, 5), scorer.table)
        np.testing.assert_allclose(scorer.sessions(sequences).numpy(), wanted.numpy(), rtol=1e-4, atol=1e-5)


def test_networks_of_more_layers_are_read_by_torch():
    config = make_config({"dim": 16, "layers": 2})
    assert NetworkScorer(Network(config, 30).eval(), config).row is None


def test_networks_on_another_device_are_read_by_torch():
    config = make_config({"dim": 16, "layers": 1})
    scorer = NetworkScorer(Network(config, 30).eval(), config)
    scorer.device = torch.device("cuda")  # none is needed to choose the path

    assert scorer.row is None
