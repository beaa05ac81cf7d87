"""Graphs as matrices: adjacency from edges, its normalisation, networks of stations.

Chapter 14 derives :func:`adjacency_matrix`, :func:`normalise` and :func:`normalise_sparse`. A graph is
undirected here, and without loops: the normalisation gives every node one of its own. What does not
fit is refused with a sentence that says what to do; an isolated node is no problem.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def _unique_edges(edges: Tensor, nodes: int) -> Tensor:
    """Each edge once, the smaller node first, in order.

    Raises:
        ValueError: the shape is wrong, a node does not exist, or an edge is a loop.
    """
    edges = torch.as_tensor(edges)
    if edges.ndim != 2 or len(edges) != 2 or edges.dtype.is_floating_point:
        raise ValueError(
            f"the edges must be two rows of node numbers, not shape {tuple(edges.shape)} of "
            f"{edges.dtype}"
        )
    if edges.numel() and not 0 <= edges.min() <= edges.max() < nodes:
        raise ValueError(f"an edge names a node outside 0 to {nodes - 1}")
    if (edges[0] == edges[1]).any():
        raise ValueError(
            "an edge joins a node to itself: leave it out, each node gets its own loop"
        )
    return edges.long().sort(dim=0).values.unique(dim=1)


def adjacency_matrix(edges: Tensor, nodes: int) -> Tensor:
    """The symmetric matrix with 1 where two nodes are joined.

    Args:
        edges: shape (2, edges), node numbers from 0; an edge may come more than once, and in either
            direction or both.
        nodes: how many nodes there are; one without an edge gets a row of zeros.

    Returns:
        Shape (nodes, nodes), float32, on the device of the edges.

    Raises:
        ValueError: the shape is wrong, a node does not exist, or an edge is a loop.
    """
    first, second = _unique_edges(edges, nodes)
    adjacency = torch.zeros(nodes, nodes, device=first.device)
    adjacency[first, second] = adjacency[second, first] = 1
    return adjacency


def normalise(adjacency: Tensor) -> Tensor:
    """What one graph-convolution layer multiplies with: D̃^-½ Ã D̃^-½, where Ã = A + I.

    Args:
        adjacency: shape (nodes, nodes), symmetric, zeros on the diagonal. Weights of any positive size
            are allowed: a degree is then a sum of weights. An isolated node only sees itself.

    Returns:
        A matrix of the same shape and dtype.

    Raises:
        ValueError: the matrix is not square, has loops, negative or undefined weights, or a direction.
    """
    if adjacency.ndim != 2 or adjacency.shape[0] != adjacency.shape[1]:
        raise ValueError(f"an adjacency matrix is square, not of shape {tuple(adjacency.shape)}")
    if not (adjacency >= 0).all() or not adjacency.isfinite().all():
        raise ValueError("a weight is negative or undefined, so the degrees have no root")
    if adjacency.diagonal().any():
        raise ValueError("there are loops already: clear the diagonal, each node gets its own loop")
    if not torch.equal(adjacency, adjacency.T):
        raise ValueError(
            "the edges have a direction: symmetrise with torch.maximum(adjacency, adjacency.T)"
        )
    looped = adjacency + torch.eye(len(adjacency), dtype=adjacency.dtype, device=adjacency.device)
    root = looped.sum(1).rsqrt()
    return root[:, None] * looped * root


def normalise_sparse(edges: Tensor, nodes: int, weights: Tensor | None = None) -> Tensor:
    """The same from an edge list, as a sparse tensor: its size is that of the edges, not nodes².

    Args:
        edges: shape (2, edges), as for :func:`adjacency_matrix`.
        nodes: how many nodes there are.
        weights: one positive number an edge; then each edge must come once. None: 1 for each.

    Returns:
        A coalesced sparse COO tensor, shape (nodes, nodes), float32 or of the weights' dtype.

    Raises:
        ValueError: the edges do not fit (see :func:`adjacency_matrix`), or the weights do not.
    """
    unique = _unique_edges(edges, nodes)
    if weights is None:
        pairs, values = unique, torch.ones(unique.shape[1], device=unique.device)
    else:
        pairs, values = torch.as_tensor(edges).long(), weights
        if values.shape != pairs.shape[1:] or unique.shape != pairs.shape:
            raise ValueError("with weights each edge comes once, in one direction, with one weight")
        if not (values >= 0).all() or not values.isfinite().all():
            raise ValueError("a weight is negative or undefined, so the degrees have no root")
    loops = torch.arange(nodes, device=pairs.device).expand(2, -1)
    places = torch.cat([pairs, pairs.flip(0), loops], dim=1)  # both directions, then the loops
    values = torch.cat([values, values, values.new_ones(nodes)])
    root = values.new_zeros(nodes).index_add(0, places[0], values).rsqrt()
    values = root[places[0]] * values * root[places[1]]
    with (
        torch.sparse.check_sparse_tensor_invariants()
    ):  # the argument of the same name warns in 2.11
        matrix = torch.sparse_coo_tensor(places, values, (nodes, nodes))
    return matrix.coalesce()


def station_network(stations: Sequence[str], pairs: Iterable[Sequence[str]]) -> Tensor:
    """The adjacency matrix of a network given by the names of neighbours.

    Args:
        stations: the names, in the order in which rows and columns are wanted.
        pairs: two names each; a pair that several lines serve may come more than once.

    Raises:
        ValueError: a name is not among the stations or comes twice there, or a station is its own
            neighbour.
    """
    number = {name: k for k, name in enumerate(stations)}
    if len(number) < len(stations):
        raise ValueError("a station is listed twice")
    try:
        ends = [[number[name] for name in pair] for pair in pairs]
    except KeyError as error:
        raise ValueError(f"there is no station {error.args[0]!r} in the list") from None
    edges = torch.tensor(ends, dtype=torch.long).reshape(-1, 2).T
    return adjacency_matrix(edges, len(stations))
