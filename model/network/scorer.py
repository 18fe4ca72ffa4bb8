"""The network as training scores with it: prefixes of item places in, logits or probabilities over the whole
catalogue out. Answers come from `model.network.compiled`.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.config import ModelConfig
from model.data.sequences import Cases
from model.evaluate.judge import rows_at_once
from model.evaluate.select import Prefixes, pessimistic_ranks, remove_seen
from model.network.batches import pad
from model.network.losses import product_dtype
from model.network.network import Network

Floats = NDArray[np.float32]
# items; beyond, the table is read in the type of products, and no second form of it is kept
LARGE_CATALOGUE = 100_000


class NetworkScorer:
    """Holds the item vectors once and scores batches of prefixes against them; no gradient, any device.

    Parameters
    ----------
    network : Network
        In evaluation mode.
    config : ModelConfig
    table : Tensor, shape (n_items, dim), optional
        Prepared item vectors; none = those of the network now.
    """

    name = "network"

    def __init__(self, network: Network, config: ModelConfig, table: Tensor | None = None) -> None:
        self.network = network
        self.config = config
        with torch.no_grad():
            self.table = network.item_vectors() if table is None else network.prepare(table)
            dtype = product_dtype(config.precision, self.table.device)
            self.columns = self.table.to(dtype if len(self.table) > LARGE_CATALOGUE else self.table.dtype).T
        self.device = self.table.device
        # Neither clicks nor text: nothing is known of these items, so the network must not prefer them to
        # disliked ones.
        self.silent = torch.nonzero((self.table == 0).all(1)).flatten()

    @torch.no_grad()
    def sessions(self, prefixes: Prefixes, long: Floats | None = None, short: Floats | None = None) -> Tensor:
        """Session vectors, shape (cases, dim); prefixes must not be empty."""
        clicks = pad(prefixes, self.config.max_length)
        moved = type(clicks)(clicks.items.to(self.device), clicks.lengths.to(self.device))
        return self.network.encode(moved, self.table, _tensor(long, self.device), _tensor(short, self.device))

    @torch.no_grad()
    def logits(self, prefixes: Prefixes, long: Floats | None = None, short: Floats | None = None) -> Tensor:
        """Scores of every item, float32, shape (cases, n_items)."""
        sessions = self.sessions(prefixes, long, short)
        found = (sessions.to(self.columns.dtype) @ self.columns).float()
        if len(self.silent) and len(self.silent) < len(self.table):
            found[:, self.silent] = float("-inf")
        return found

    def scores(self, cases: Cases) -> Floats:
        """Logits for evaluation, float32, shape (cases, n_items)."""
        found: Floats = self.logits(cases.prefixes, cases.long, cases.short).cpu().numpy()
        return found

    def of_cases(self, cases: Cases) -> Floats:
        """Return probabilities of evaluation cases, float32, shape (cases, n_items)."""
        return self.probabilities(cases.prefixes, cases.long, cases.short)

    @torch.no_grad()
    def probabilities(
        self, prefixes: Prefixes, long: Floats | None = None, short: Floats | None = None
    ) -> Floats:
        """Softmax of the logits, float32, shape (cases, n_items), rows sum to 1."""
        found: Floats = self._softmax(prefixes, long, short).numpy()
        return found

    def _softmax(self, prefixes: Prefixes, long: Floats | None, short: Floats | None) -> Tensor:
        return torch.softmax(self.logits(prefixes, long, short), dim=1).cpu()


def validation_ndcg(scorer: NetworkScorer, cases: Cases, drop_seen: bool) -> float:
    """NDCG@10 of the network alone over all cases, misses counted as 0."""
    total = 0.0
    rows = rows_at_once(len(scorer.table))
    for place in range(0, len(cases), rows):
        part = cases.select(np.arange(place, min(place + rows, len(cases))))
        scores = scorer.logits(part.prefixes, part.long, part.short)
        if drop_seen:
            remove_seen(scores, part.prefixes)
        ranks = pessimistic_ranks(scores, torch.from_numpy(part.targets.astype(np.int64)).to(scores.device))
        hits = ranks[ranks <= 10].double()
        total += float((1 / torch.log2(hits + 1)).sum())
    return total / max(len(cases), 1)


def _tensor(values: Floats | None, device: torch.device) -> Tensor | None:
    return (
        None
        if values is None
        else torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(device)
    )
