"""bfloat16 products with a float32 running sum."""

from __future__ import annotations

import torch

from model.intent.llm.precision import HalfLinear, best_tokens, halve_products
from model.intent.llm.weights import load_network


def test_the_halved_network_stays_close_to_the_exact_one(tiny_llm):
    exact, halved = (
        load_network(tiny_llm, "float32", "cpu"),
        halve_products(load_network(tiny_llm, "float32", "cpu")),
    )
    assert sum(isinstance(module, HalfLinear) for module in halved.modules()) == 14
    ids = torch.arange(5, 45)[None]
    with torch.inference_mode():
        one, other = exact(input_ids=ids).logits, halved(input_ids=ids).logits
    assert other.dtype == torch.float32
    assert float(torch.nn.functional.cosine_similarity(one, other, dim=-1).min()) > 0.99


def test_close_calls_are_decided_in_float32():
    torch.manual_seed(0)
    weights = torch.randn(500, 64)
    weights[100:110] = weights[100] + 1e-3 * torch.randn(10, 64)
    hidden = weights[100:110][None] * 3
    wanted = (hidden @ weights.T).argmax(-1)
    assert torch.equal(best_tokens(hidden, weights, None, 16), wanted)
    assert torch.equal(best_tokens(hidden, weights, weights.to(torch.bfloat16), 16), wanted)
