"""Items without a training click: they get the vector that items with like titles have learned. Knows nothing
of training itself.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from model.data.catalogue import Catalogue
from model.network.network import Network
from model.network.text_space import TextSpace
from model.text.stand_ins import by_stand_ins, stand_ins

RIDGE_SHARE = 0.3  # of the mean variance of a text direction: strong where few items teach the map


def fill_cold(
    network: Network, space: TextSpace | None, catalogue: Catalogue, counts: NDArray[np.int64]
) -> NDArray[np.float32] | None:
    """Give items without a click the residual that like titles got, in place: the mean of their stand-ins',
    or by ridge regression where they have none.

    Returns
    -------
    ndarray float32, shape (text_dim, dim), optional
        The ridge map from centred text vectors, for items that join the catalogue later; none without text.
    """
    residual = network.residual.weight.data
    warm = counts > 0
    if space is None or not len(network.text_part) or catalogue.vectors is None:
        residual[torch.from_numpy(~warm)] = 0.0  # a random vector must not be recommended
        return None
    has_text = np.abs(catalogue.vectors).sum(1) > 0
    x = space.centred(catalogue.vectors).astype(np.float64)
    learned = residual.cpu().numpy().astype(np.float64)
    fit = warm & has_text
    gram = x[fit].T @ x[fit]
    gram += max(RIDGE_SHARE * float(np.trace(gram)) / len(gram), 1e-6) * np.eye(len(gram))
    found = np.linalg.solve(gram, x[fit].T @ learned[fit]).astype(np.float32)
    cold = np.flatnonzero(~warm)
    filled = by_stand_ins(
        stand_ins(catalogue.texts, cold, fit)[cold], learned, x[cold].astype(np.float32) @ found
    )
    residual[torch.from_numpy(cold)] = torch.from_numpy(filled).to(residual.device)
    return found
