"""One training step: rows to session vectors, cross-entropy over the warm catalogue, auxiliary losses,
update.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from model.config import ModelConfig
from model.data.splits import Dataset
from model.network.backbones import Clicks
from model.network.batches import Places, Rows, gather
from model.network.losses import full_softmax, product_dtype, sampled_softmax
from model.network.network import Network


class Objective:
    """What is minimised.

    Items without a training click take no part in the softmax: otherwise training would teach that they are
    never the answer.

    Parameters
    ----------
    network : Network
    dataset : Dataset
        Training sequences, and training cases with intents where there are any.
    config : ModelConfig
    """

    def __init__(self, network: Network, dataset: Dataset, config: ModelConfig) -> None:
        self.network, self.config = network, config
        self.flat, self.weights = dataset.train.items, dataset.train.weights
        counts = dataset.item_counts
        self.sampled = config.loss == "sampled" or (
            config.loss is None and len(counts) > config.full_softmax_items
        )
        # Backbones that look up other items (graphs) need the whole table; the others only the items of the
        # step.
        self.partial = self.sampled and config.backbone not in {"gcegnn", "s2dhcn"}
        network.residual.sparse = self.partial
        warm = np.flatnonzero(counts)
        self.warm = None if len(warm) == len(counts) else torch.from_numpy(warm).to(config.device)
        self.place_of = np.full(len(counts), -1, np.int64)
        self.place_of[warm] = np.arange(len(warm))
        # Negatives in proportion to clicks^0.75: hard enough, and rare items still come up.
        weights = counts[warm].astype(np.float64) ** 0.75
        self.chance = torch.from_numpy(weights / weights.sum()) if self.sampled else None
        self.warm_items = torch.from_numpy(warm)
        self.dtype = product_dtype(config.precision, config.device)
        self.intents = _intent_rows(dataset) if config.fusion == "paper" else None

    def optimizers(self) -> list[Optimizer]:
        """Adam for all weights; item rows that a step does not touch are left alone where only part of the
        table is used.
        """
        rate, decay = self.config.learning_rate, self.config.weight_decay
        if not self.partial:
            return [torch.optim.Adam(self.network.parameters(), lr=rate, weight_decay=decay, fused=True)]
        others = [value for name, value in self.network.named_parameters() if name != "residual.weight"]
        return [
            torch.optim.Adam(others, lr=rate, weight_decay=decay, fused=True),
            torch.optim.SparseAdam([self.network.residual.weight], lr=rate),
        ]

    def step(self, rows: Rows, chosen: Places, optimizers: list[Optimizer]) -> tuple[float, int]:
        """Run one update; returns the cross-entropy in nats a target, and how many targets there were."""
        clicks, places = gather(self.flat, rows.start[chosen], rows.stop[chosen])
        ends = (
            clicks.mask
            if rows.every_position
            else torch.arange(clicks.items.shape[1])[None] == clicks.lengths[:, None] - 1
        )
        places = places[ends]
        targets = torch.from_numpy(self.flat[places.numpy() + 1].astype(np.int64))
        spoken = None if self.weights is None else torch.from_numpy(self.weights[places.numpy() + 1])
        loss, extra = self._losses(clicks, ends, places, targets, spoken)
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        (loss + extra).backward()  # type: ignore[no-untyped-call]
        dense = [
            value
            for name, value in self.network.named_parameters()
            if not (self.partial and name == "residual.weight")
        ]
        torch.nn.utils.clip_grad_norm_(dense, self.config.clip_norm)
        for optimizer in optimizers:
            optimizer.step()
        return float(loss.detach()), len(targets)

    def _losses(
        self, clicks: Clicks, ends: Tensor, places: Tensor, targets: Tensor, spoken: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        device, network = self.config.device, self.network
        weights = None if spoken is None else spoken.to(device)
        negatives = self._negatives() if self.sampled else None
        table, clicks, local_targets, local_negatives = self._table(clicks, targets, negatives)
        clicks = Clicks(clicks.items.to(device), clicks.lengths.to(device))
        global_, local = network.states(clicks, table)
        if network.backbone.every_position:
            whole = (clicks, global_, clicks.lengths - 1)
            global_, local = global_[ends.to(device)], local[ends.to(device)]
        projected = self._projected(clicks, ends, places)
        session = network.finish(global_, local, projected)
        extra = session.new_zeros(())
        if network.fusion is not None and projected is not None:
            extra = extra + network.fusion.auxiliary(global_, local, *projected)
        if network.backbone.every_position:
            ends_only = whole[1][torch.arange(len(whole[2]), device=device), whole[2]]
            own = network.backbone.auxiliary(clicks, table, ends_only)
            extra = extra if own is None else extra + own
        if negatives is not None and local_negatives is not None and self.chance is not None:
            expected = torch.log(self.chance[self._drawn] * len(negatives)).float().to(device)
            loss = sampled_softmax(
                session,
                table[local_targets],
                table[local_negatives],
                targets.to(device),
                negatives.to(device),
                expected,
                weights,
            )
        else:
            loss = full_softmax(
                session, table if self.warm is None else table[self.warm], local_targets, self.dtype, weights
            )
        return loss, extra

    def _negatives(self) -> Tensor:
        if self.chance is None:
            raise RuntimeError("negatives are drawn for the sampled softmax only")
        # multinomial stops at 2^24 categories; the running sum has no such limit
        cumulative = self.chance.cumsum(0)
        draws = torch.rand(self.config.negatives, dtype=torch.float64) * cumulative[-1]
        self._drawn = torch.searchsorted(cumulative, draws).clamp(max=len(cumulative) - 1)
        return self.warm_items[self._drawn]

    def _table(
        self, clicks: Clicks, targets: Tensor, negatives: Tensor | None
    ) -> tuple[Tensor, Clicks, Tensor, Tensor | None]:
        """Item vectors of the step, and indices into them."""
        network, device = self.network, self.config.device
        if self.partial and negatives is not None:
            wanted = torch.unique(torch.cat([clicks.items.flatten(), targets, negatives]))
            rows = network.residual(wanted.to(device))
            if len(network.text_part):
                rows = rows + network.text_part[wanted.to(device)]
            inside = Clicks(torch.searchsorted(wanted, clicks.items), clicks.lengths)
            found = (
                torch.searchsorted(wanted, targets).to(device),
                torch.searchsorted(wanted, negatives).to(device),
            )
            return network.prepare(rows), inside, *found
        table = network.item_table()
        if self.config.residual_dropout and len(network.text_part):
            kept = torch.rand(len(table), 1, device=device) >= self.config.residual_dropout
            table = network.text_part + network.residual.weight * kept
        table = network.prepare(table)
        if negatives is not None:
            return table, clicks, targets.to(device), negatives.to(device)
        return table, clicks, torch.from_numpy(self.place_of[targets.numpy()]).to(device), None

    def _projected(self, clicks: Clicks, ends: Tensor, places: Tensor) -> tuple[Tensor, Tensor] | None:
        network = self.network
        if network.fusion is None:
            return None
        long, short = network.own_intents(clicks, last_only=False)
        if network.backbone.every_position:
            long, short = long[ends.to(long.device)], short[ends.to(short.device)]
        if self.intents is not None:
            row_of, given_long, given_short = self.intents
            found = row_of[places.numpy()]
            known = torch.from_numpy(found >= 0).to(long.device)[:, None]
            long = torch.where(known, torch.from_numpy(given_long[found]).to(long.device), long)
            short = torch.where(known, torch.from_numpy(given_short[found]).to(short.device), short)
        return network.fusion.project(long, short)


def _intent_rows(dataset: Dataset) -> tuple[Places, NDArray[np.float32], NDArray[np.float32]] | None:
    """For every training click the row of the intent that was known after it (-1 = none), and the intents'
    vectors.
    """
    cases = dataset.train_cases
    if cases is None or cases.long is None or cases.short is None:
        return None
    known = np.abs(cases.long).sum(1) > 0
    rows = {
        (name, position): row
        for row, (name, position) in enumerate(
            zip(cases.prefixes.session_ids, cases.positions.tolist(), strict=True)
        )
        if known[row]
    }
    sequences = dataset.train
    found = np.full(len(sequences.items), -1, np.int64)
    for place, name in enumerate(sequences.session_ids):
        first = int(sequences.first_position[place])
        for step in range(int(sequences.lengths[place]) - 1):
            found[sequences.offsets[place] + step] = rows.get((name, first + step + 1), -1)
    return found, cases.long, cases.short
