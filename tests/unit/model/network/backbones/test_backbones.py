"""Backbones against cases worked by hand, and the promises that all of them make."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from model.config import BACKBONES, make_config
from model.network import backbones
from model.network.backbones import Backbone, Clicks, Graph, backbone_class, last, make_backbone, stamp
from model.network.backbones.gcegnn import GCEGNN, edge_types
from model.network.backbones.gru4rec import GRU4Rec
from model.network.backbones.s2dhcn import S2DHCN
from model.network.backbones.sasrec import SASRec
from model.network.backbones.srgnn import SRGNN, session_graph
from model.network.backbones.stamp import STAMP

DIM, ITEMS = 8, 12
GRAPH = Graph(
    torch.arange(ITEMS)[:, None].repeat(1, 3),
    torch.zeros(ITEMS, 3),
    torch.tensor([[0, 1, 1, 2], [0, 0, 1, 1]]),
    2,
)


def build(name: str, **values: object) -> Backbone:
    torch.manual_seed(0)
    config = make_config(
        {"backbone": name, "dim": DIM, "dropout": 0.0, "embedding_dropout": 0.0, "max_length": 10, **values}
    )
    return make_backbone(config, GRAPH).eval()


def read(
    backbone: Backbone, rows: list[list[int]], width: int | None = None, last_only: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    table = backbone.propagate(torch.randn(ITEMS, DIM) * 0.3)
    lengths = torch.tensor([len(row) for row in rows])
    items = torch.zeros(len(rows), width or int(lengths.max()), dtype=torch.int64)
    for place, row in enumerate(rows):
        items[place, : len(row)] = torch.tensor(row)
    clicks = Clicks(items, lengths)
    return backbone.encode(clicks, table[items] * clicks.mask[:, :, None], last_only)


@pytest.mark.parametrize("name", BACKBONES)
def test_padding_changes_nothing(name: str) -> None:
    backbone = build(name)
    narrow, wide = read(backbone, [[3, 5, 3]]), read(backbone, [[3, 5, 3]], width=9)
    for one, other in zip(narrow, wide, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_row_does_not_depend_on_its_neighbours_in_the_batch(name: str) -> None:
    backbone = build(name)
    alone, together = read(backbone, [[3, 5]]), read(backbone, [[7, 1, 4, 2, 9], [3, 5]])
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one[0], other[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in BACKBONES if name not in {"srgnn", "gcegnn"}])
def test_every_position_equals_the_prefix_read_alone(name: str) -> None:
    backbone = build(name)
    assert backbone.every_position
    everywhere = read(backbone, [[3, 5, 3, 8]], last_only=False)
    for length in range(1, 5):
        alone = read(backbone, [[3, 5, 3, 8][:length]])
        for view in (0, 1):
            torch.testing.assert_close(everywhere[view][0, length - 1], alone[view][0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", BACKBONES)
def test_gradients_reach_every_weight(name: str) -> None:
    backbone = build(name).train()
    global_, local = read(backbone, [[3, 5, 3], [1, 2, 0]])
    backbone.combine(global_, local).pow(2).sum().backward()
    silent = [
        key
        for key, value in backbone.named_parameters()
        if value.grad is None or not value.grad.isfinite().all()
    ]
    assert silent == []


@pytest.mark.parametrize("name", ["gcegnn", "s2dhcn"])
def test_graph_backbones_ask_for_the_graph(name: str) -> None:
    with pytest.raises(ValueError, match="make_graph"):
        make_backbone(make_config({"backbone": name, "dim": DIM}))


def test_last_takes_the_newest_click_of_each_row() -> None:
    values = torch.arange(12.0).reshape(2, 3, 2)
    assert last(values, torch.tensor([1, 3])).tolist() == [[0.0, 1.0], [10.0, 11.0]]


def identity(layer: nn.Linear) -> None:
    with torch.no_grad():
        layer.weight.copy_(torch.eye(*layer.weight.shape))
        if layer.bias is not None:
            layer.bias.zero_()


def test_gru4rec_follows_its_equations() -> None:
    backbone = build("gru4rec")
    assert isinstance(backbone, GRU4Rec)
    identity(backbone.output)
    backbone.scale = nn.Identity()  # type: ignore[assignment]
    x = torch.randn(1, 1, DIM)
    found, _ = backbone.encode(Clicks(torch.tensor([[1]]), torch.tensor([1])), x, last_only=True)
    weight, bias = (
        backbone.gru.weight_ih_l0,
        backbone.gru.bias_ih_l0 + torch.cat([backbone.gru.bias_hh_l0[: 2 * DIM], torch.zeros(DIM)]),
    )
    gates = (x[0, 0] * math.sqrt(DIM)) @ weight.T + bias
    reset, update = torch.sigmoid(gates[:DIM]), torch.sigmoid(gates[DIM : 2 * DIM])
    candidate = torch.tanh(gates[2 * DIM :] + reset * backbone.gru.bias_hh_l0[2 * DIM :])
    torch.testing.assert_close(found[0], (1 - update) * candidate)  # h_0 = 0
    again, _ = backbone.encode(
        Clicks(torch.tensor([[1, 1]]), torch.tensor([2])), x.repeat(1, 2, 1), last_only=True
    )
    inside, state = backbone.gru.weight_hh_l0 @ found[0] + backbone.gru.bias_hh_l0, x[0, 0] * math.sqrt(DIM)
    outside = backbone.gru.weight_ih_l0 @ state + backbone.gru.bias_ih_l0
    reset, update = torch.sigmoid(outside + inside)[: 2 * DIM].chunk(2)
    candidate = torch.tanh(outside[2 * DIM :] + reset * inside[2 * DIM :])
    torch.testing.assert_close(again[0], (1 - update) * candidate + update * found[0])


def test_stamp_follows_its_equations() -> None:
    backbone = build("stamp")
    assert isinstance(backbone, STAMP)
    x = torch.randn(1, 2, DIM)
    global_, local = backbone.encode(Clicks(torch.tensor([[1, 2]]), torch.tensor([2])), x, last_only=True)
    first, second = x[0] * math.sqrt(DIM)
    mean = (first + second) / 2
    weights = [
        backbone.energy(torch.sigmoid(backbone.item(v) + backbone.current(second) + backbone.mean(mean)))
        for v in (first, second)
    ]
    memory = weights[0] * first + weights[1] * second
    torch.testing.assert_close(global_[0], torch.tanh(backbone.session_cell(memory)))
    torch.testing.assert_close(local[0], torch.tanh(backbone.item_cell(second)))
    torch.testing.assert_close(backbone.combine(global_, local), global_ * local * math.sqrt(DIM))  # eq. 4


def test_sasrec_of_one_click_attends_to_itself_only() -> None:
    backbone = build("sasrec")
    assert isinstance(backbone, SASRec)
    x = torch.randn(1, 1, DIM)
    found, _ = backbone.encode(Clicks(torch.tensor([[1]]), torch.tensor([1])), x, last_only=True)
    block = backbone.blocks[0]
    h = x[0, 0] * math.sqrt(DIM) + backbone.positions[0]
    value = block.key_value(block.attention_norm(h))[DIM:]
    h = h + block.output(value)
    h = h + block.feed(block.feed_norm(h))
    torch.testing.assert_close(found[0], backbone.norm(h))


def test_sasrec_follows_its_equations() -> None:
    backbone = build("sasrec", heads=2)
    assert isinstance(backbone, SASRec)
    x = torch.randn(1, 2, DIM)
    found, _ = backbone.encode(Clicks(torch.tensor([[1, 2]]), torch.tensor([2])), x, last_only=True)
    block, width = backbone.blocks[0], DIM // 2
    rows = x[0] * math.sqrt(DIM) + backbone.positions[:2]
    normed = block.attention_norm(rows)
    query, (keys, values) = block.query(normed[1]), block.key_value(normed).chunk(2, dim=1)
    heads = []
    for part in (slice(0, width), slice(width, DIM)):
        weights = torch.softmax(torch.stack([query[part] @ key[part] / math.sqrt(width) for key in keys]), 0)
        heads.append(weights[0] * values[0, part] + weights[1] * values[1, part])
    h = rows[1] + block.output(torch.cat(heads))
    h = h + block.feed(block.feed_norm(h))
    torch.testing.assert_close(found[0], backbone.norm(h))


def test_session_graph_of_a_loop() -> None:
    # clicks a b a c: edges a->b, b->a, a->c; node 2 (the second a) is empty
    first, edges = session_graph(Clicks(torch.tensor([[4, 6, 4, 9]]), torch.tensor([4])))
    assert first.tolist() == [[0, 1, 0, 3]]
    assert edges[0].tolist() == [[0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_srgnn_readout_sums_without_softmax_over_valid_clicks_only() -> None:
    backbone = build("srgnn")
    assert isinstance(backbone, SRGNN)
    x = torch.randn(1, 3, DIM)
    x[0, 2] = 0.0
    clicks = Clicks(torch.tensor([[1, 2, 0]]), torch.tensor([2]))
    global_, local = backbone.encode(clicks, x)
    nodes = backbone.propagate_session(clicks, x * math.sqrt(DIM))[0]
    expected = sum(
        backbone.energy(torch.sigmoid(backbone.query_last(nodes[1]) + backbone.query_item(nodes[row])))
        * nodes[row]
        for row in (0, 1)
    )
    torch.testing.assert_close(local[0], nodes[1])
    torch.testing.assert_close(global_[0], expected)
    # eq. 7
    torch.testing.assert_close(
        backbone.combine(global_, local)[0], backbone.output(torch.cat([local[0], global_[0]]))
    )


def test_srgnn_message_is_the_mean_over_neighbours() -> None:
    backbone = build("srgnn")
    assert isinstance(backbone, SRGNN)
    x = torch.randn(1, 2, DIM)  # a -> b: a hears of b over its outgoing edge, and nothing over incoming ones
    nodes = backbone.propagate_session(Clicks(torch.tensor([[1, 2]]), torch.tensor([2])), x)
    message = torch.cat([torch.zeros(DIM), backbone.outgoing(x[0, 1])])
    torch.testing.assert_close(nodes[0, 0], backbone.cell(message[None], x[0, :1])[0])


def test_gcegnn_names_the_four_relations() -> None:
    _, types = edge_types(Clicks(torch.tensor([[4, 6, 4, 9]]), torch.tensor([4])))
    assert types[0, 0].tolist() == [1, 4, 0, 2]  # a: itself, both ways with b, nothing, outgoing to c
    assert types[0, 3].tolist() == [3, 0, 0, 1]


def test_gcegnn_session_attention_of_one_click_is_the_click() -> None:
    backbone = build("gcegnn")
    assert isinstance(backbone, GCEGNN)
    h = torch.randn(1, 1, DIM)
    torch.testing.assert_close(backbone.session_level(Clicks(torch.tensor([[1]]), torch.tensor([1])), h), h)


def test_gcegnn_follows_its_equations() -> None:
    torch.manual_seed(0)
    neighbours, often = torch.arange(ITEMS)[:, None].repeat(1, 2), torch.zeros(ITEMS, 2)
    neighbours[1], often[1] = torch.tensor([3, 4]), torch.tensor([2.0, 1.0])
    neighbours[2], often[2] = torch.tensor([5, 2]), torch.tensor([3.0, 0.0])
    config = make_config(
        {"backbone": "gcegnn", "dim": DIM, "dropout": 0.0, "embedding_dropout": 0.0, "max_length": 10}
    )
    backbone = GCEGNN(config, Graph(neighbours, often, GRAPH.members, 2)).eval()
    table = backbone.propagate(torch.randn(ITEMS, DIM))
    clicks = Clicks(torch.tensor([[1, 2]]), torch.tensor([2]))  # a -> b
    found, local = backbone.encode(clicks, table[clicks.items])
    leaky = nn.LeakyReLU(0.2)
    h = table * math.sqrt(DIM)
    mean = (h[1] + h[2]) / 2
    merged = []
    # b is outgoing of a, a is incoming of b; relation 0 is the item itself
    for own, other, kind in ((1, 2, 1), (2, 1, 2)):
        energies = [
            leaky(backbone.relation[0] @ (h[own] * h[own])),
            leaky(backbone.relation[kind] @ (h[own] * h[other])),
        ]
        itself, near = torch.softmax(torch.stack(energies), 0)
        session = itself * h[own] + near * h[other]  # eq. 7-9
        keys = [
            torch.cat([mean * h[place], often[own, number, None]])
            for number, place in enumerate(neighbours[own])
        ]
        weights = torch.softmax(
            torch.cat([backbone.context_energy(leaky(backbone.context(key))) for key in keys]), 0
        )
        around = weights @ h[neighbours[own]]  # eq. 2-4
        merged.append(torch.relu(backbone.merge(torch.cat([h[own], around]))) + session)  # eq. 5, 10
    middle, expected = (merged[0] + merged[1]) / 2, torch.zeros(DIM)
    # counted from the end
    for vector, place in zip(merged, (backbone.positions[1], backbone.positions[0]), strict=True):
        z = torch.tanh(backbone.position(torch.cat([vector, place])))  # eq. 11
        # eq. 13, 14
        expected = (
            expected
            + backbone.energy(torch.sigmoid(backbone.query_item(z) + backbone.query_mean(middle))) * vector
        )
    torch.testing.assert_close(found[0], expected)
    torch.testing.assert_close(local[0], merged[1])


def test_gcegnn_reads_items_that_joined_after_training() -> None:
    backbone = build("gcegnn")
    table = backbone.propagate(torch.randn(ITEMS + 1, DIM))
    clicks = Clicks(torch.tensor([[ITEMS]]), torch.tensor([1]))
    assert backbone.encode(clicks, table[clicks.items])[0].isfinite().all()


def test_s2dhcn_smooths_over_sessions_and_leaves_lonely_items_alone() -> None:
    backbone = build("s2dhcn")
    assert isinstance(backbone, S2DHCN)
    table = torch.randn(ITEMS, DIM)
    found = backbone.propagate(table)
    # sessions {0, 1} and {1, 2}; item 0 hears the mean of its one session, item 1 the mean of both
    one, two = (table[0] + table[1]) / 2, (table[1] + table[2]) / 2
    torch.testing.assert_close(found[0], (table[0] + one) / 2)
    torch.testing.assert_close(found[1], (table[1] + (one + two) / 2) / 2)
    torch.testing.assert_close(found[5], table[5])


def test_s2dhcn_readout_follows_its_equations() -> None:
    backbone = build("s2dhcn")
    assert isinstance(backbone, S2DHCN)
    x = torch.randn(1, 2, DIM)
    found, local = backbone.encode(Clicks(torch.tensor([[1, 2]]), torch.tensor([2])), x, last_only=True)
    rows, expected = x[0] * math.sqrt(DIM), torch.zeros(DIM)
    # counted from the end
    for row, place in zip(rows, (backbone.positions[1], backbone.positions[0]), strict=True):
        placed = torch.tanh(backbone.position_item(row) + backbone.position_place(place))
        expected = (
            expected
            + backbone.energy(torch.sigmoid(backbone.query_item(placed) + backbone.query_mean(rows.mean(0))))
            * row
        )
    torch.testing.assert_close(found[0], expected)
    torch.testing.assert_close(local[0], rows[1])


def test_s2dhcn_contrast_follows_its_equations() -> None:
    backbone = build("s2dhcn")
    table, theta = torch.randn(ITEMS, DIM), torch.randn(2, DIM)
    clicks = Clicks(torch.tensor([[1, 2], [1, 3]]), torch.tensor([2, 2]))
    torch.manual_seed(4)
    found = backbone.auxiliary(clicks, table, theta)
    torch.manual_seed(4)
    corrupted = theta[torch.randperm(2)][:, torch.randperm(DIM)]
    sessions = torch.stack([(table[1] + table[2]) / 2, (table[1] + table[3]) / 2])
    line = torch.tensor([[0.75, 0.25], [0.25, 0.75]])  # one of three items is shared; rows of A + I sum to 1
    view = (sessions + line @ sessions) / 2
    agree, differ = (theta * view).sum(1), (corrupted * view).sum(1)
    assert found is not None
    torch.testing.assert_close(
        found, 0.01 * -(torch.log(torch.sigmoid(agree)) + torch.log(torch.sigmoid(1 - differ))).mean()
    )


def test_s2dhcn_contrast_is_finite_and_absent_for_one_session() -> None:
    backbone = build("s2dhcn")
    table = torch.randn(ITEMS, DIM)
    many = Clicks(torch.tensor([[1, 2], [1, 3]]), torch.tensor([2, 2]))
    loss = backbone.auxiliary(many, table, torch.randn(2, DIM))
    assert loss is not None and loss.isfinite()
    assert backbone.auxiliary(Clicks(many.items[:1], many.lengths[:1]), table, torch.randn(1, DIM)) is None


def test_a_new_module_of_the_folder_is_a_backbone_by_its_name(tmp_path, monkeypatch):
    text = (Path(stamp.__file__)).read_text(encoding="utf-8").replace("class STAMP", "class Mine")
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr(backbones, "__path__", [*backbones.__path__, str(tmp_path)])
    assert backbone_class("mine").__name__ == "Mine"
    assert backbone_class("mine")(make_config({"dim": DIM})).encode


def test_the_backbones_of_the_papers_are_there_and_two_of_them_need_the_graph():
    assert {"gru4rec", "stamp", "sasrec", "srgnn", "gcegnn", "s2dhcn"} <= set(BACKBONES)
    assert {name for name in BACKBONES if backbone_class(name).needs_graph} >= {"gcegnn", "s2dhcn"}
