"""Adjacency and normalisation: against the formula entry by entry, and what they refuse."""

import networkx as nx
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from utils import datasets, graphs


def random_edges(seed: int, nodes: int, p: float = 0.3) -> torch.Tensor:
    """Each edge of a random graph once, the smaller node first."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(nodes, nodes, generator=generator) < p).triu(1).nonzero().T


def reference(adjacency: torch.Tensor) -> torch.Tensor:
    """The formula entry by entry."""
    n = len(adjacency)
    looped = [[adjacency[i, j].item() + (i == j) for j in range(n)] for i in range(n)]
    degree = [sum(row) for row in looped]
    rows = [[looped[i][j] / (degree[i] * degree[j]) ** 0.5 for j in range(n)] for i in range(n)]
    return torch.tensor(rows, dtype=adjacency.dtype)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("nodes", [1, 2, 7, 20])
def test_adjacency_is_that_of_networkx(seed, nodes):
    edges = random_edges(seed, nodes)
    graph = nx.Graph()
    graph.add_nodes_from(range(nodes))
    graph.add_edges_from(edges.T.tolist())
    expected = torch.from_numpy(nx.to_numpy_array(graph)).float()
    assert_close(graphs.adjacency_matrix(edges, nodes), expected)
    repeated = torch.cat([edges, edges.flip(0), edges], dim=1)  # both directions, and again
    assert_close(graphs.adjacency_matrix(repeated, nodes), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("nodes", [1, 3, 12])
def test_dense_and_sparse_follow_the_formula(nodes, seed, dtype):
    edges = random_edges(seed, nodes)
    adjacency = graphs.adjacency_matrix(edges, nodes).to(dtype)
    assert_close(graphs.normalise(adjacency), reference(adjacency))
    sparse = graphs.normalise_sparse(edges, nodes)
    assert sparse.is_sparse
    assert sparse.is_coalesced()
    assert sparse.values().numel() == 2 * edges.shape[1] + nodes
    assert_close(sparse.to_dense(), reference(adjacency).float())
    both = torch.cat([edges, edges.flip(0)], dim=1)
    assert_close(graphs.normalise_sparse(both, nodes).to_dense(), sparse.to_dense())


@pytest.mark.parametrize("seed", range(4))
def test_weights(seed):
    edges = random_edges(seed, 9, 0.4)
    weights = torch.rand(edges.shape[1], dtype=torch.float64) + 0.1
    adjacency = torch.zeros(9, 9, dtype=torch.float64)
    adjacency[edges[0], edges[1]] = adjacency[edges[1], edges[0]] = weights
    assert_close(graphs.normalise(adjacency), reference(adjacency))
    sparse = graphs.normalise_sparse(edges, 9, weights)
    assert sparse.dtype == torch.float64
    assert_close(sparse.to_dense(), reference(adjacency))


def test_gradients_reach_weights_and_features():
    edges = random_edges(0, 6, 0.5)
    weights = (torch.rand(edges.shape[1], dtype=torch.float64) + 0.5).requires_grad_()
    x = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)

    def dense(w, x):
        adjacency = torch.zeros(6, 6, dtype=w.dtype)
        adjacency = adjacency.index_put((edges[0], edges[1]), w)
        return graphs.normalise(adjacency + adjacency.T) @ x

    pair = [f(weights, x) for f in (dense, lambda w, x: graphs.normalise_sparse(edges, 6, w) @ x)]
    assert_close(*pair)
    slopes = [torch.autograd.grad(y.square().sum(), (weights, x)) for y in pair]
    assert_close(*slopes)
    assert slopes[0][0].abs().min() > 0


def test_an_isolated_node_only_sees_itself():
    edges = torch.tensor([[0], [1]])
    for matrix in (
        graphs.normalise(graphs.adjacency_matrix(edges, 4)),
        graphs.normalise_sparse(edges, 4).to_dense(),
    ):
        assert_close(matrix[2:], torch.eye(4)[2:])
        assert_close(matrix[:2, :2], torch.full((2, 2), 0.5))
    none = torch.zeros(2, 0, dtype=torch.long)
    assert_close(graphs.normalise_sparse(none, 3).to_dense(), torch.eye(3))
    assert graphs.adjacency_matrix(none, 3).sum() == 0


REFUSED = {
    "not square": (torch.zeros(2, 3), "square"),
    "loops": (torch.tensor([[1.0, 1], [1, 0]]), "loops already"),
    "a direction": (torch.tensor([[0.0, 1], [0, 0]]), "direction"),
    "two weights for one edge": (torch.tensor([[0.0, 1], [2, 0]]), "direction"),
    "a negative weight": (torch.tensor([[0.0, -1], [-1, 0]]), "negative or undefined"),
    "an undefined weight": (torch.tensor([[0.0, torch.nan], [torch.nan, 0]]), "undefined"),
    "an infinite weight": (torch.tensor([[0.0, torch.inf], [torch.inf, 0]]), "undefined"),
}


def assert_one_sentence(message: str) -> None:
    assert "\n" not in message
    assert ". " not in message
    assert len(message) < 120


@pytest.mark.parametrize("what", REFUSED)
def test_a_matrix_is_refused_in_one_sentence(what):
    matrix, words = REFUSED[what]
    with pytest.raises(ValueError, match=words) as caught:
        graphs.normalise(matrix)
    assert_one_sentence(str(caught.value))


WRONG_EDGES = {
    "a loop": ([[0, 1], [1, 1]], "joins a node to itself"),
    "no such node": ([[0], [5]], "outside 0 to 2"),
    "a negative node": ([[0], [-1]], "outside 0 to 2"),
    "pairs as rows": ([[0, 1], [1, 2], [0, 2]], "two rows"),
    "no integers": ([[0.0], [1.0]], "two rows"),
}


@pytest.mark.parametrize("build", [graphs.adjacency_matrix, graphs.normalise_sparse])
@pytest.mark.parametrize("what", WRONG_EDGES)
def test_edges_are_refused_in_one_sentence(what, build):
    edges, words = WRONG_EDGES[what]
    with pytest.raises(ValueError, match=words) as caught:
        build(torch.tensor(edges), 3)
    assert_one_sentence(str(caught.value))


@pytest.mark.parametrize(
    ("edges", "weights", "words"),
    [
        ([[0, 1], [1, 0]], [1.0, 2.0], "each edge comes once"),
        ([[0], [1]], [1.0, 2.0], "each edge comes once"),
        ([[0], [1]], [-1.0], "negative"),
        ([[0], [1]], [float("nan")], "undefined"),
    ],
)
def test_weights_are_refused_in_one_sentence(edges, weights, words):
    with pytest.raises(ValueError, match=words) as caught:
        graphs.normalise_sparse(torch.tensor(edges), 3, torch.tensor(weights))
    assert_one_sentence(str(caught.value))


def test_a_network_of_named_stations():
    pairs = [("b", "a"), ("a", "b"), ["b", "d"]]
    matrix = graphs.station_network(("a", "b", "c", "d"), pairs)
    expected = torch.zeros(4, 4)
    expected[0, 1] = expected[1, 0] = expected[1, 3] = expected[3, 1] = 1
    assert_close(matrix, expected)
    assert graphs.station_network(("a", "b"), []).sum() == 0


@pytest.mark.parametrize(
    ("stations", "pairs", "words"),
    [
        (("a", "b"), [("a", "x")], "no station 'x'"),
        (("a", "a"), [], "listed twice"),
        (("a", "b"), [("a", "a")], "joins a node to itself"),
    ],
)
def test_wrong_names_are_refused(stations, pairs, words):
    with pytest.raises(ValueError, match=words) as caught:
        graphs.station_network(stations, pairs)
    assert_one_sentence(str(caught.value))


def test_the_chicago_network_is_connected():
    network = datasets.load_chicago_network()
    pairs = network.connections[["station", "neighbour"]].to_numpy()
    matrix = graphs.station_network(network.stations, pairs)
    assert nx.is_connected(nx.from_numpy_array(matrix.numpy()))
    degree = dict(zip(network.stations, matrix.sum(1).int().tolist(), strict=True))
    assert {name for name, d in degree.items() if d == 1} == {
        "Harlem",
        "Oak_Park",
        "Kedzie",
        "California",
    }
    assert max(degree, key=degree.get) == "Clark_Lake"
    values = np.linalg.eigvalsh(graphs.normalise(matrix).numpy())
    assert values.max() == pytest.approx(1, abs=1e-6)
    assert values.min() > -1
