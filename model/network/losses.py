"""Losses: softmax cross-entropy over a whole catalogue (exact or sampled), alignment and uniformity. Knows no
network.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

CHUNK_ELEMENTS = 3_145_728  # logits held at once: 12 MB as float32, about what a core's caches keep

# rows are filled up to it: matrix kernels are made and kept a shape, and the targets of a batch come in any
# number
MULTIPLE = 64
LEAST_WEIGHT = 1e-6  # of a batch: where every target is of a type that counts nothing, so does the loss


def bfloat16_pays(device: str | torch.device) -> bool:
    """Whether products of bfloat16 are faster than float32 here (a CPU with bfloat16 instructions, or a CUDA
    GPU).
    """
    kind = torch.device(device).type
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return kind == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())


def product_dtype(
    precision: Literal["auto", "float32", "bfloat16"], device: str | torch.device
) -> torch.dtype:
    """Type of the products with the catalogue for ``config.precision``."""
    if precision == "auto":
        return torch.bfloat16 if bfloat16_pays(device) else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


class _FullSoftmax(torch.autograd.Function):
    """Cross-entropy whose gradients are made chunk by chunk in the forward pass, so that logits never leave
    the cache.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        items: Tensor,
        targets: Tensor,
        dtype: torch.dtype,
        weights: Tensor | None,
    ) -> Tensor:
        """Weighted sum of -log softmax(hidden items^T)[target] over the rows, shape ()."""
        count = len(hidden)
        rows = max(1, CHUNK_ELEMENTS // max(1, len(items)))
        multiple = MULTIPLE if rows >= MULTIPLE else 1
        rows -= rows % multiple
        whole = -(-count // multiple) * multiple
        table = items.detach().to(dtype)
        # Rows of zeros at the end: their gradients are not read, and they add nothing to those of the items.
        source = functional.pad(hidden.detach().to(dtype), (0, 0, 0, whole - count))
        goals = functional.pad(targets, (0, whole - count))[:, None]
        grad_hidden = torch.empty(whole, hidden.shape[1], dtype=hidden.dtype, device=hidden.device)
        grad_items = torch.zeros_like(items, dtype=torch.float32)
        loss = torch.zeros((), dtype=torch.float64, device=hidden.device)
        for start in range(0, whole, rows):
            part, goal = source[start : start + rows], goals[start : start + rows]
            logits = (part @ table.T).float()
            logits -= logits.amax(1, keepdim=True)
            wanted = logits.gather(1, goal)
            logits.exp_()
            total = logits.sum(1, keepdim=True)
            each = (total.log() - wanted)[: count - start]
            logits /= total
            logits.scatter_add_(1, goal, torch.full_like(wanted, -1.0))
            if weights is not None:
                own = weights[start : start + rows, None]
                each = each * own
                logits[: len(own)] *= own
            loss += each.sum(dtype=torch.float64)
            slope = logits.to(dtype)
            grad_hidden[start : start + rows] = slope @ table
            grad_items += slope.T @ part
        grad_hidden = grad_hidden[:count]
        ctx.save_for_backward(grad_hidden, grad_items)
        return loss.to(hidden.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        """Scale the gradients made in the forward pass."""
        grad_hidden, grad_items = ctx.saved_tensors
        return grad_hidden * grads[0], grad_items * grads[0], None, None, None


def full_softmax(
    hidden: Tensor,
    items: Tensor,
    targets: Tensor,
    dtype: torch.dtype = torch.float32,
    weights: Tensor | None = None,
) -> Tensor:
    """Exact softmax cross-entropy over the whole catalogue, in the memory of one chunk of logits.

    Parameters
    ----------
    hidden : Tensor, shape (rows, dim)
        Session vectors.
    items : Tensor, shape (n_items, dim)
        Item vectors.
    targets : Tensor, shape (rows,), int64
        Index of each row's next item.
    dtype : torch.dtype
        Of the matrix products; softmax and sums are float32 always.
    weights : Tensor, shape (rows,), optional
        How much each row counts; None = all alike.

    Returns
    -------
    Tensor, shape ()
        Weighted mean over rows, in nats; 0 where all weights are.

    Raises
    ------
    ValueError
        If there is no row.

    Examples
    --------
    >>> round(full_softmax(torch.zeros(2, 3), torch.eye(4, 3), torch.tensor([0, 1])).item(), 4) == round(
    ...     math.log(4), 4
    ... )
    True
    """
    if not len(hidden):
        raise ValueError("full_softmax of an empty batch; give at least one row")
    total = torch.as_tensor(_FullSoftmax.apply(hidden, items, targets, dtype, weights))
    return total / (len(hidden) if weights is None else weights.sum().clamp(min=LEAST_WEIGHT))


def sampled_softmax(
    hidden: Tensor,
    positives: Tensor,
    negatives: Tensor,
    targets: Tensor,
    sampled: Tensor,
    log_expected: Tensor,
    weights: Tensor | None = None,
) -> Tensor:
    """Softmax cross-entropy with shared sampled negatives and the log-q correction.

    The full sum over items is estimated by importance sampling: exp(s_target) + sum over samples of exp(s_j)
    / expected count of j, where a sample that equals the row's target is left out. Unbiased for the sum as
    the number of samples grows.

    Parameters
    ----------
    hidden : Tensor, shape (rows, dim)
    positives : Tensor, shape (rows, dim)
        Vector of each row's target.
    negatives : Tensor, shape (samples, dim)
    targets, sampled : Tensor, int64, shapes (rows,) and (samples,)
        Item indices, to find accidental hits.
    log_expected : Tensor, shape (samples,)
        log(samples * q_j) of the sampling distribution q.
    weights : Tensor, shape (rows,), optional
        How much each row counts; None = all alike.

    Returns
    -------
    Tensor, shape ()
        Weighted mean over rows, in nats.

    References
    ----------
    Bengio & Senecal, 2008; Jean et al., 2015, eq. 8.
    """
    wanted = (hidden * positives).sum(1, keepdim=True)
    others = hidden @ negatives.T - log_expected
    others = others.masked_fill(sampled[None, :] == targets[:, None], float("-inf"))
    each = torch.logsumexp(torch.cat([wanted, others], dim=1), dim=1) - wanted.squeeze(1)
    return each.mean() if weights is None else (each * weights).sum() / weights.sum().clamp(min=LEAST_WEIGHT)


def alignment(left: Tensor, right: Tensor) -> Tensor:
    """Mean squared distance of paired vectors after normalisation, shape (); 0 when they point the same way.

    References
    ----------
    Wang & Isola, 2020, eq. 4; LLM4SBR (arXiv 2402.13840), alignment term.

    Examples
    --------
    >>> alignment(torch.eye(2), 3 * torch.eye(2)).item()
    0.0
    """
    return (functional.normalize(left, dim=1) - functional.normalize(right, dim=1)).pow(2).sum(1).mean()


def uniformity(vectors: Tensor, t: float = 2.0) -> Tensor:
    """Penalise vectors that crowd together.

    Parameters
    ----------
    vectors : Tensor, shape (batch, dim)
        One row a session; normalised here, so length carries no information.
    t : float
        Sharpness of the Gaussian kernel.

    Returns
    -------
    Tensor, shape ()
        log mean exp(-t * squared distance) over distinct pairs; 0 when all rows coincide, lower is better.

    Raises
    ------
    ValueError
        If the batch has fewer than two rows.

    References
    ----------
    Wang & Isola, 2020, eq. 5; LLM4SBR (arXiv 2402.13840), uniformity term.

    Examples
    --------
    >>> bool(uniformity(torch.eye(2)) < uniformity(torch.ones(2, 2)))
    True
    """
    rows = len(vectors)
    if rows < 2:
        raise ValueError(f"uniformity compares pairs, but the batch has {rows} row(s); give at least two")
    normed = functional.normalize(vectors, dim=1)
    # |a - b|^2 = 2 - 2 a.b on the sphere; through the product, because pdist has no finite gradient at
    # distance 0.
    exponent = t * (2 * (normed @ normed.T) - 2)
    # A row with itself counts nothing. Filled, not picked out: picking pairs by a mask takes more than all
    # the rest, with its gradient.
    exponent = exponent.masked_fill(torch.eye(rows, dtype=torch.bool, device=vectors.device), -math.inf)
    return torch.logsumexp(exponent.flatten(), dim=0) - math.log(rows * (rows - 1))
