"""Examinations of the exercises of chapter 14, graph convolution."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from utils.checks.engine import Wrong, call, compare, exercise, same
from utils.graphs import adjacency_matrix, normalise


@exercise(
    "14.1",
    "Add the loops first: then the centre has degree 5, and each leaf has degree 2.",
    "An entry of S is 1 / √(degree of i · degree of j) where i and j are joined, or are the same node.",
    "Sparse: one loop for each node, and each edge in both directions. Two layers reach two hops.",
)
def star_on_paper(centre, spoke, leaf, stored, seen):
    names = {"centre": centre, "spoke": spoke, "leaf": leaf}
    expected = {"centre": 0.2, "spoke": math.sqrt(0.1), "leaf": 0.5}
    slips = {
        "centre": {
            "centre is not 0: every node gets a loop first.": 0.0,
            "centre has degree 5 with its loop, not 4.": 0.25,
            "centre: the degree is under a root twice, and the two make 5.": math.sqrt(0.2),
            "centre is not 1: its loop is divided by its degree as well.": 1.0,
        },
        "spoke": {
            "spoke: count the loops in the degrees, of the centre as well as of the leaf.": 0.5,
            "spoke: a leaf has degree 2 with its loop.": math.sqrt(0.2),
            "spoke: the product of the degrees stands under a root.": 0.1,
            "spoke is not a mean over the five: the degree of the leaf counts as well.": 0.2,
            "spoke: the centre has degree 5 with its loop, not 4.": math.sqrt(0.125),
        },
        "leaf": {
            "leaf is not 0: every node gets a loop first.": 0.0,
            "leaf has degree 2 with its loop, not 1.": 1.0,
            "leaf: the degree is under a root twice, and the two make 2.": math.sqrt(0.5),
        },
    }
    for name, value in names.items():
        compare(value, expected[name], slips[name], name=name, rtol=4e-3)
    compare(
        stored,
        13,
        {
            "stored: the five loops are entries, too.": 8,
            "stored: each edge is stored in both directions, (0, 1) and (1, 0).": 9,
            "stored: each edge is stored in both directions, and the loops are entries, too.": 4,
            "stored: a sparse tensor keeps only the entries that are not zero.": 25,
            "stored: positions are not counted, only the values.": 39,
        },
        name="stored",
    )
    compare(
        seen,
        5,
        {
            "seen: that is one layer; the second one reaches the neighbours of the neighbours.": 2,
            "seen: node 1 itself is among them, through the loop.": 4,
            "seen: all leaves are two hops apart, not only one of them.": 3,
        },
        name="seen",
    )


def _kept_one(pairs, messages, nodes):
    """Messages in which a later one to the same node replaces an earlier one."""
    total = torch.zeros(nodes, messages.shape[1])
    for to, message in zip(pairs[0].tolist(), messages, strict=True):
        total[to] = message
    return total


@exercise(
    "14.2",
    "Make one list of messages (to, from): each edge, each edge the other way round, and each node to itself.",
    "The degree of a node is how often it stands among `to`: torch.bincount, then a root. Loops make it at least 1.",
    "messages = h[source] / (root[to] * root[source])[:, None]; torch.zeros_like(h).index_add(0, to, messages); then @ W and ReLU.",
)
def layer_from_edges(layer):
    nodes = 8  # the last one has no edge
    edges = torch.tensor([[0, 1, 0, 3, 5, 0, 4, 6], [1, 2, 3, 2, 0, 6, 5, 3]])
    h, W = torch.randn(nodes, 3), torch.randn(3, 5)
    A, loops = adjacency_matrix(edges, nodes), torch.eye(nodes)
    degree = A.sum(1)
    looped = degree + 1
    both = torch.cat([edges, edges.flip(0), torch.arange(nodes).expand(2, -1)], dim=1)
    one_way = torch.zeros(nodes, nodes)
    one_way[edges[0], edges[1]] = 1
    in_one, out_one = (one_way.sum(k) + 1 for k in (0, 1))

    def with_matrix(M):
        return (M @ h @ W).relu()

    def scaled(M, d, e=None):
        return with_matrix(M / (d[:, None] * (d if e is None else e)).sqrt())

    right = with_matrix(normalise(A))
    values = 1 / (looped[both[0]] * looped[both[1]]).sqrt()
    messages = values[:, None] * h[both[1]]
    joined, own = slice(0, 2 * edges.shape[1]), slice(2 * edges.shape[1], None)
    lost = _kept_one(both, messages, nodes)
    lost_but_own = _kept_one(both[:, joined], messages[joined], nodes) + messages[own]
    lost_twice = (
        sum(
            _kept_one(both[:, part], messages[part], nodes)
            for part in (slice(0, edges.shape[1]), slice(edges.shape[1], 2 * edges.shape[1]))
        )
        + messages[own]
    )
    result = call(layer, edges, h, W)
    plain = isinstance(result, Tensor) and result.device.type == "cpu"
    if plain and result.shape == right.shape and not result[-1].isfinite().all():
        raise Wrong(
            "the node without an edge gets nan or inf: count its loop, and its degree is 1, not 0."
        )
    if any(same(result, (kept @ W).relu(), atol=1e-5) for kept in (lost, lost_but_own, lost_twice)):
        raise Wrong(
            "of several messages to one node only one is kept: total[rows] += … does not add up repeated "
            "rows, index_add does."
        )
    compare(
        result,
        right,
        {
            "the loops are missing in the sum: a node must also hear itself.": scaled(A, looped),
            "the loops are missing, in the sum and in the degrees.": scaled(A, degree.clamp(min=1)),
            "the loops are in the sum, but not in the degrees: add them before you count.": scaled(
                A + loops, degree.clamp(min=1)
            ),
            "messages go one way only: the graph has no direction, so each edge counts both ways.": scaled(
                one_way + loops, looped
            ),
            "messages go one way only, and so do the degrees: each edge counts both ways.": scaled(
                one_way + loops, out_one
            ),
            "messages go one way only (and each end has degrees of its own): each edge counts both ways.": (
                scaled(one_way + loops, out_one, in_one)
            ),
            "the degrees count one end of each edge only: count both.": scaled(A + loops, out_one),
            "this is the mean over the neighbours: divide by the roots of both degrees.": with_matrix(
                (A + loops) / looped[:, None]
            ),
            "the product of the two degrees stands under a root.": with_matrix(
                (A + loops) / torch.outer(looped, looped)
            ),
            "the messages are added up, but not divided by the degrees.": with_matrix(A + loops),
            "the ReLU is missing.": normalise(A) @ h @ W,
            "the ReLU comes last, after W.": (normalise(A) @ h).relu() @ W,
            "W is missing: multiply the sums by it.": (normalise(A) @ h).relu(),
        },
        name="the new features",
        atol=1e-5,
    )


def _distances(A):
    """Lengths of the shortest paths, after Floyd and Warshall."""
    far = np.where(A.numpy() > 0, 1.0, np.inf)
    np.fill_diagonal(far, 0)
    for middle in range(len(far)):
        far = np.minimum(far, far[:, [middle]] + far[[middle]])
    return torch.from_numpy(far)


@exercise(
    "14.3",
    "From node i, A @ ring reaches one step further than the ring, but it also goes back: leave out what was reached before.",
    "Keep a matrix `reached` of bool. The next ring is (A @ ring > 0) & ~reached.",
    "The mean: divide each row by its sum. A row without a node has the sum 0: clamp(min=1) keeps it 0.",
)
def at_exact_distance(by_distance):
    edges = torch.tensor(
        [[0, 1, 2, 0, 3, 4, 6], [1, 2, 0, 3, 4, 5, 7]]
    )  # a triangle, a tail, a pair
    A, hops = adjacency_matrix(edges, 9), 3
    far = _distances(A)
    rings = torch.stack([(far == k).float() for k in range(hops + 1)])
    within = torch.stack([(far <= k).float() for k in range(hops + 1)])
    powers = torch.stack([torch.linalg.matrix_power(A, k) for k in range(hops + 1)])
    walks = (powers > 0).float()

    def mean(parts, axis=2):
        return parts / parts.sum(axis, keepdim=True).clamp(min=1)

    result = call(by_distance, A, hops)
    right = mean(rings)
    plain = isinstance(result, Tensor) and result.device.type == "cpu"
    if plain and result.shape == right.shape and result.isnan().any() and not result.isnan().all():
        raise Wrong("a row without a node at that distance is 0 / 0 = nan: it must stay 0.")
    no_return = walks * (1 - torch.eye(9))
    no_return[0] = torch.eye(9)
    compare(
        result,
        right,
        {
            "a walk of k steps may go back: A to the power of k also reaches nearer nodes.": mean(
                walks
            ),
            "a walk of k steps may go back, and not only to its start: leave out all nearer nodes.": mean(
                no_return
            ),
            "the powers of A count walks: leave out the nearer nodes, and let each node count once.": (
                mean(powers)
            ),
            "these are all nodes within k hops; at exactly k hops is asked for.": mean(within),
            "this adds up: divide each row by the number of its nodes.": rings,
            "the columns are divided, and row i shall take the mean: divide the rows.": mean(
                rings, 1
            ),
            "this is normalised like a graph-convolution layer; a plain mean is asked for.": _symmetric(
                rings
            ),
            "distance 0 is missing: the first matrix is for the node itself.": right[1:],
            "the last distance is missing: `hops` hops are hops + 1 matrices.": right[:-1],
            "distances begin at 0, the node itself: yours begin at 1.": mean(
                torch.stack([(far == k + 1).float() for k in range(hops + 1)])
            ),
        },
        name="the stacked matrices",
    )


def _symmetric(parts):
    root = parts.sum(2).clamp(min=1).rsqrt()
    return root[:, :, None] * parts * root[:, None]


@exercise(
    "14.4",
    "Try vectors that depend on the degrees alone: put v[i] = f(d̃[i]) into (S v)[i] = Σ v[j] / √(d̃[i] d̃[j]), and choose f.",
    "With v[i] = √d̃[i] the sum has d̃[i] terms 1/√d̃[i], which is √d̃[i]: S leaves v as it is.",
    "Make its length 1 (u = v / |v|); what remains of x is its projection, u (uᵀ x).",
)
def end_of_smoothing(smoothed_out):
    edges = torch.tensor([[0, 0, 0, 1, 3, 4, 0], [1, 2, 3, 2, 4, 5, 6]])
    A, x = adjacency_matrix(edges, 7), torch.randn(7, 3)
    S = normalise(A.double())
    right = (torch.linalg.matrix_power(S, 2**14) @ x.double()).float()
    degree = A.sum(1)
    looped = degree + 1

    def onto(v, w=None):
        w = v if w is None else w
        return v[:, None] * (w @ x) / (v @ w)

    ones = torch.ones(7)
    mean = x.mean(0).expand(7, -1)
    compare(
        call(smoothed_out, A, x),
        right,
        {
            "this is the mean over the nodes; S does not leave a constant as it is, for the degrees differ.": mean,
            "the degrees must count the loops.": onto(degree.sqrt()),
            "the eigenvector is the root of the degrees, not the degrees.": onto(looped),
            "this is where D̃⁻¹Ã ends, the plain mean over neighbours; S divides by two roots.": onto(
                ones, looped
            ),
            "the length of the eigenvector is missing: divide by it, for u uᵀ x needs |u| = 1.": looped.sqrt()[
                :, None
            ]
            * (looped.sqrt() @ x),
            "the length counts twice: divide each of the two vectors by it, that is by the sum of the "
            "degrees.": onto(looped.sqrt()) * looped.sum().sqrt(),
            "the sign of the root is turned around: √d̃, not 1/√d̃.": onto(looped.rsqrt()),
            "this is one number for each feature: spread it over the nodes by √d̃.": (
                looped.sqrt() @ x / looped.sum().sqrt()
            ),
            "this is one step of smoothing; the end of all steps is asked for.": (S.float() @ x),
        },
        name="the limit",
        atol=1e-5,
        rtol=1e-3,
    )


@exercise(
    "14.5",
    "Write a function for the roughness of one set of numbers first; then use it for x and for each x[order].",
    "(A * (x[:, None] - x) ** 2).sum() counts each edge twice, which makes no difference to a comparison.",
    "count = sum(rough(x[order]) <= rough(x) for order in orders), and the answer is (1 + count) / (1 + draws).",
)
def chance_of_a_network(chance):
    n, draws = 9, 199
    edges = torch.tensor([[0, 1, 2, 3, 4, 5, 6, 0, 0], [1, 2, 3, 4, 5, 6, 7, 2, 8]])
    A = adjacency_matrix(edges, n)
    x = torch.tensor([3.0, 2, 4, 1, 1, 2, 6, 5, 3])  # whole numbers, so that sums are exact
    orders = torch.stack([torch.randperm(n) for _ in range(draws)])
    orders[4] = torch.arange(n)

    def rough(M, values, power=2):
        return (M * (values[:, None] - values).abs() ** power).sum(dim=(-2, -1))

    def gaps(network=lambda o: A, values=lambda o: x[o], power=2):
        found = torch.stack([rough(network(o), values(o), power) for o in orders])
        return found - rough(A, x, power)

    change = gaps()
    smooth = int((change <= 0).sum())
    result = call(chance, A, x, orders)
    wrong = {
        "orders that are exactly as rough as x count as well: at most, not less than.": (
            1 + int((change < 0).sum())
        )
        / (1 + draws),
        "the 1 for x itself is missing, above and below.": smooth / draws,
        "the 1 for x itself is missing above.": smooth / (1 + draws),
        "the 1 for x itself is missing below.": (1 + smooth) / draws,
        "these are the orders that are at least as rough: count the smooth ones.": (
            1 + int((change >= 0).sum())
        )
        / (1 + draws),
        "these are the orders that are rougher: count the smooth ones.": (
            1 + int((change > 0).sum())
        )
        / (1 + draws),
        "this is the number of smooth orders: divide, with the 1 above and below.": float(smooth),
        "this takes the absolute differences: the roughness has their squares.": (
            1 + int((gaps(power=1) <= 0).sum())
        )
        / (1 + draws),
        "only the rows of A are shuffled: the columns are stations, too (and the question shuffles x).": (
            1 + int((gaps(lambda o: A[o], lambda o: x) <= 0).sum())
        )
        / (1 + draws),
        "each order is used the other way round: the shuffled numbers are x[order].": (
            1 + int((gaps(lambda o: A[o][:, o], lambda o: x) <= 0).sum())
        )
        / (1 + draws),
        "network and numbers are shuffled alike, so nothing changes: leave the network as it is.": 1.0,
        "the differences over all pairs of stations do not depend on the order: only edges count.": 1.0,
    }
    compare(result, (1 + smooth) / (1 + draws), wrong, name="the chance")


@exercise(
    "14.6",
    "You need the last two terms, T_(k-1) x and T_(k-2) x, and never a polynomial of L itself.",
    "(L - I) @ y is L @ y - y. Start with before = x and now = L @ x - x.",
    "for W in self.weights[1:]: add now @ W, then before, now = now, 2 * (L @ now - now) - before.",
)
def chebyshev_layer(ChebConv):
    n, inputs, outputs = 6, 2, 3
    edges = torch.tensor([[0, 0, 0, 1, 3, 4], [1, 2, 3, 2, 4, 5]])
    A = adjacency_matrix(edges, n)
    L = torch.eye(n) - A / torch.outer(A.sum(1), A.sum(1)).sqrt()
    eigenvalues, U = torch.linalg.eigh(L.double() - torch.eye(n))
    angle = eigenvalues.clamp(-1, 1).arccos()
    x = torch.randn(n, inputs)

    def polynomials(K, two=2.0, sign=-1.0, shift=1.0):
        scaled = L - shift * torch.eye(n)
        terms = [torch.eye(n), scaled]
        for _ in range(K):
            terms.append(two * scaled @ terms[-1] + sign * terms[-2])
        return terms[: K + 1]

    for K in (4, 1, 0):
        net = call(ChebConv, inputs, outputs, K)
        if not isinstance(net, nn.Module):
            raise Wrong("ChebConv must be a module: class ChebConv(nn.Module).")
        found = dict(net.named_parameters())
        if not found:
            call(net, L, x)  # not attempted, perhaps
            raise Wrong("there is no parameter: self.weights = nn.Parameter(…) in __init__.")
        if list(found) != ["weights"]:
            raise Wrong(f"one parameter is asked for, `weights`, and there are {', '.join(found)}.")
        weights = net.weights
        wanted = (K + 1, inputs, outputs)
        compare(
            tuple(weights.shape),
            wanted,
            {
                "degree K has K + 1 polynomials, T_0 to T_K, each with a matrix.": (
                    K,
                    inputs,
                    outputs,
                ),
                "the matrices are (inputs, outputs), as they stand behind x.": (
                    K + 1,
                    outputs,
                    inputs,
                ),
            },
            name=f"the shape of weights for K = {K}",
        )
        if weights.is_meta or not weights.isfinite().all() or weights.unique().numel() == 1:
            raise Wrong("the weights must start as random numbers: torch.randn, for example.")
        with torch.no_grad():
            weights.copy_(torch.randn(wanted))
        result = call(net, L, x)
        W = weights.detach()

        def mixed(terms, W=W):
            return sum(T @ x @ w for T, w in zip(terms, W, strict=False))

        waves = [U @ (torch.cos(k * angle)[:, None] * U.T) for k in range(K + 1)]
        exact = mixed([T.float() for T in waves])
        scaled = L - torch.eye(n)
        powers = [torch.linalg.matrix_power(scaled, k) for k in range(K + 1)]
        if isinstance(result, Tensor) and not result.requires_grad:
            raise Wrong("the result carries no gradient: the weights could not learn.")
        compare(
            result,
            exact,
            {
                "these are powers of L - I; Chebyshev's polynomials have 2 (L - I) T_(k-1) - T_(k-2).": mixed(
                    powers
                ),
                "L is not shifted: take L - I, whose eigenvalues lie between -1 and 1.": mixed(
                    polynomials(K, shift=0.0)
                ),
                "the factor 2 of the recursion is missing.": mixed(polynomials(K, two=1.0)),
                "T_(k-2) is to be subtracted.": mixed(polynomials(K, sign=1.0)),
                "T_(k-2) is not subtracted at all.": mixed(polynomials(K, sign=0.0)),
                "the last polynomial, T_K, is missing.": mixed(polynomials(K)[:K]) if K else None,
                "the first polynomial, T_0, is missing: its matrix weighs x itself.": mixed(
                    [0 * x @ x.T, *polynomials(K)[1:]]
                ),
                "all polynomials share the first matrix: each has one of its own.": mixed(
                    polynomials(K), W[:1].expand(K + 1, -1, -1)
                ),
                "there is a ReLU in it: without an activation, please.": exact.relu(),
                "I - L is not L - I: the odd polynomials have the wrong sign.": mixed(
                    [(-1) ** k * T for k, T in enumerate(polynomials(K))]
                ),
            },
            name=f"the result for K = {K}",
            atol=1e-5,
            rtol=1e-3,
        )
