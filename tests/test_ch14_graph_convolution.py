"""Chapter 14's graph convolution: spectral, spatial, dense, sparse and utils.graphs agree."""

import networkx as nx
import pytest
import torch
from sklearn.semi_supervised import LabelSpreading
from taught import taught_namespace
from torch.nn import functional as F
from torch.testing import assert_close

from utils import graphs

SHAPES = [(1, 1, 1), (2, 3, 1), (6, 2, 4), (15, 5, 3), (40, 1, 7)]  # nodes, inputs, outputs


@pytest.fixture(scope="module")
def taught():
    return taught_namespace("14_graph_convolution")


def random_edges(nodes, seed, p=0.3):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(nodes, nodes, generator=generator) < p).triu(1).nonzero().T


def connected(nodes, seed):
    """A random tree and some edges more: no node is isolated."""
    generator = torch.Generator().manual_seed(seed)
    later = torch.arange(1, nodes)
    parents = (torch.rand(nodes - 1, generator=generator) * later).long()
    tree = torch.stack([parents, later])
    return torch.cat([tree, random_edges(nodes, seed, 0.1)], dim=1).unique(dim=1)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("nodes", [1, 2, 9, 30])
def test_the_chapter_and_utils_are_one(taught, nodes, seed):
    edges = random_edges(nodes, seed)  # with isolated nodes
    adjacency = taught["adjacency_matrix"](edges, nodes)
    assert_close(adjacency, graphs.adjacency_matrix(edges, nodes))
    for dtype in (torch.float32, torch.float64):
        assert_close(
            taught["normalise"](adjacency.to(dtype)), graphs.normalise(adjacency.to(dtype))
        )
    ours, theirs = (f(edges, nodes) for f in (taught["normalise_sparse"], graphs.normalise_sparse))
    assert ours.is_sparse
    assert torch.equal(ours.indices(), theirs.indices())
    assert_close(ours.values(), theirs.values())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("nodes, inputs, outputs", SHAPES)
def test_dense_sparse_and_the_sum_over_neighbours_agree(taught, nodes, inputs, outputs, seed):
    torch.manual_seed(seed)
    edges = random_edges(nodes, seed)
    x, W = torch.randn(nodes, inputs, requires_grad=True), torch.randn(inputs, outputs)
    W.requires_grad_()
    near = [{i} for i in range(nodes)]
    for a, b in edges.T.tolist():
        near[a].add(b)
        near[b].add(a)
    by_sum = torch.stack(
        [sum(x[j] / (len(near[i]) * len(near[j])) ** 0.5 for j in near[i]) for i in range(nodes)]
    )
    dense = taught["normalise"](taught["adjacency_matrix"](edges, nodes))
    sparse = taught["normalise_sparse"](edges, nodes)
    results = [(by_sum @ W).relu(), (dense @ (x @ W)).relu(), (sparse @ (x @ W)).relu()]
    slopes = [torch.autograd.grad(y.square().sum(), (x, W), retain_graph=True) for y in results]
    for result, slope in zip(results[1:], slopes[1:], strict=True):
        assert_close(result, results[0])
        assert_close(slope, slopes[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("degree", [1, 2, 3, 7])
@pytest.mark.parametrize("nodes", [2, 5, 20])
def test_chebyshev_is_the_spectral_filter_of_its_polynomial(taught, nodes, degree, seed):
    torch.manual_seed(seed)
    adjacency = taught["adjacency_matrix"](connected(nodes, seed), nodes).double()
    L, x = taught["laplacian"](adjacency), torch.randn(nodes, 2, dtype=torch.float64)
    c = torch.randn(degree + 1, dtype=torch.float64)

    def g(value):  # T_k(s) = cos(k arccos(s))
        angle = (value - 1).clamp(-1, 1).arccos()
        return sum(c[k] * torch.cos(k * angle) for k in range(degree + 1))

    ours = taught["chebyshev_filter"](L, x, c.tolist())
    assert_close(ours, taught["spectral_filter"](L, x, g))
    spread = taught["chebyshev_filter"](L, torch.eye(nodes, dtype=torch.float64), c.tolist())
    graph = nx.from_numpy_array(adjacency.numpy())
    distance = torch.from_numpy(nx.floyd_warshall_numpy(graph))
    assert (spread[distance > degree] == 0).all()
    assert (spread[distance == degree] != 0).all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("nodes", [2, 8, 25])
def test_the_laplacian_is_that_of_networkx(taught, nodes, seed):
    edges = connected(nodes, seed)
    adjacency = taught["adjacency_matrix"](edges, nodes).double()
    graph = nx.from_numpy_array(adjacency.numpy())
    expected = torch.from_numpy(nx.normalized_laplacian_matrix(graph).toarray())
    assert_close(taught["laplacian"](adjacency), expected)
    values = torch.linalg.eigvalsh(taught["normalise"](adjacency))
    assert values.min() > -1
    assert_close(values.max().item(), 1.0)


@pytest.mark.parametrize(
    "height, width, inputs, outputs", [(3, 3, 1, 1), (5, 4, 2, 3), (1, 6, 3, 2)]
)
def test_nine_labels_are_a_convolution(taught, height, width, inputs, outputs):
    torch.manual_seed(height)
    kernel = torch.randn(outputs, inputs, 3, 3, requires_grad=True)
    image, n = torch.randn(inputs, height, width), height * width
    parts = []
    for i, j in [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]:
        part = torch.zeros(n, n)
        for r in range(max(0, -i), min(height, height - i)):
            for c in range(max(0, -j), min(width, width - j)):
                part[r * width + c, (r + i) * width + c + j] = 1
        parts.append(part)
    weights = [kernel[:, :, i, j].T for i in range(3) for j in range(3)]
    ours = taught["partition_convolution"](image.flatten(1).T, parts, weights).T
    theirs = F.conv2d(image[None], kernel, padding=1)[0].flatten(1)
    assert_close(ours, theirs)
    slopes = [
        torch.autograd.grad(y.square().sum(), kernel, retain_graph=True) for y in (ours, theirs)
    ]
    assert_close(*slopes, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("sizes", [(4, 3), (4, 8, 3), (4, 6, 6, 6, 2)])
@pytest.mark.parametrize("copies", [1, 5])
def test_a_network_of_copies_is_many_networks(taught, copies, sizes, residual):
    torch.manual_seed(copies)
    edges, x = random_edges(10, 1), torch.randn(10, 4)
    net = taught["GCN"](sizes, copies, residual=residual)
    dense = taught["normalise"](taught["adjacency_matrix"](edges, 10))
    together = net(taught["normalise_sparse"](edges, 10), x)
    assert together.shape == (copies, 10, sizes[-1])
    assert_close(net(dense, x), together)
    for copy in range(copies):
        h = dense @ x @ net.weights[0][copy]
        for W in list(net.weights)[1:]:
            step = dense @ h.relu() @ W[copy]
            h = h.relu() + step if residual and h.shape == step.shape else step
        assert_close(together[copy], h)


def test_copies_are_trained_apart(taught):
    """Other copies beside it change nothing: neither its gradient nor what Adam makes of it."""
    graph = taught["normalise_sparse"](random_edges(12, 0), 12)
    x, y = torch.randn(12, 5), torch.arange(12) % 3
    known = torch.stack([torch.randperm(12)[:4] for _ in range(3)])
    torch.manual_seed(0)
    together = taught["classify"](graph, x, y, known, (5, 6, 3), steps=20)
    torch.manual_seed(0)
    bounds = [torch.empty(3, 5, 6), torch.empty(3, 6, 3)]
    starts = [
        b.uniform_(-((6 / sum(b.shape[1:])) ** 0.5), (6 / sum(b.shape[1:])) ** 0.5) for b in bounds
    ]

    for copy in range(3):
        first, second = (s[copy].clone().requires_grad_() for s in starts)
        groups = [
            {"params": [first], "weight_decay": 5e-4},
            {"params": [second], "weight_decay": 0},
        ]
        optimizer = torch.optim.Adam(groups, lr=0.02)
        for _ in range(20):
            scores = graph @ ((graph @ (x @ first)).relu() @ second)
            optimizer.zero_grad()
            F.cross_entropy(scores[known[copy]], y[known[copy]]).backward()
            optimizer.step()
        scores = graph @ ((graph @ (x @ first)).relu() @ second)
        assert_close(together[copy], scores.detach(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_label_propagation_follows_its_rule(taught, seed):
    torch.manual_seed(seed)
    edges, y = connected(14, seed), torch.arange(14) % 3
    known = torch.stack([torch.randperm(14)[:5] for _ in range(2)])
    dense = taught["normalise"](taught["adjacency_matrix"](edges, 14))
    ours = taught["label_propagation"](dense, y, known, 3, alpha=0.8, steps=200)
    for copy in range(2):
        start = torch.zeros(14, 3)
        start[known[copy], y[known[copy]]] = 1
        limit = 0.2 * torch.linalg.solve(torch.eye(14) - 0.8 * dense, start)
        assert_close(ours[copy], limit, atol=1e-5, rtol=1e-4)


def test_label_propagation_is_the_one_of_scikit_learn(taught):
    """Its graph has loops of its own making, so compare on the kernel that it builds."""
    torch.manual_seed(0)
    x, y = torch.randn(30, 2, dtype=torch.float64), torch.arange(30) % 2
    x[y == 1] += 1.5
    known = torch.arange(6)[None]
    given = y.clone()
    given[6:] = -1
    model = LabelSpreading(kernel="rbf", gamma=1.0, alpha=0.7, max_iter=500, tol=1e-10)
    model.fit(x.numpy(), given.numpy())
    kernel = torch.exp(-(torch.cdist(x, x) ** 2)).fill_diagonal_(0)
    root = kernel.sum(1).rsqrt()
    scores = taught["label_propagation"](
        (root[:, None] * kernel * root).float(), y, known, 2, alpha=0.7, steps=500
    )[0]
    shares = scores / scores.sum(1, keepdim=True)
    expected = torch.from_numpy(model.label_distributions_).float()
    assert_close(shares, expected, atol=0.02, rtol=0)
    assert torch.equal(shares.argmax(1), torch.from_numpy(model.transduction_))


def test_the_share_of_right_nodes_leaves_the_labelled_out(taught):
    y, known = torch.tensor([0, 1, 1, 0, 1]), torch.tensor([[0, 1], [3, 4]])
    guesses = torch.tensor([[0, 1, 0, 0, 1], [1, 0, 0, 0, 1]])
    scores = F.one_hot(guesses, 2).float()
    assert taught["share_right"](scores, y, known).tolist() == pytest.approx([2 / 3, 0])


@pytest.mark.parametrize("per_class", [1, 2, 5])
def test_labels_are_drawn_for_each_class(taught, per_class):
    y = torch.tensor([0, 1, 2] * 20)
    known = taught["draw_labels"](y, per_class, 50)
    assert known.shape == (50, 3 * per_class)
    for row in known:
        assert len(set(row.tolist())) == 3 * per_class
        assert torch.equal(y[row], torch.arange(3).repeat_interleave(per_class))
    assert len({tuple(row) for row in known.tolist()}) > 10
