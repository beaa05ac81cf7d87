"""Typical wrong answers to the exercises of chapter 14: (code, part of the diagnosis)."""

_LAYER = """
def layer(edges, h, W):
    n = len(h)
    i, j = edges
    degree = torch.bincount(torch.cat([i, j]), minlength=n) + 1
    root = degree.float().sqrt()
    total = h / degree[:, None]
    total = total.index_add(0, i, h[j] / (root[i] * root[j])[:, None])
    total = total.index_add(0, j, h[i] / (root[i] * root[j])[:, None])
    return torch.relu(total @ W)
"""

_LOST = """
def layer(edges, h, W):
    i, j = torch.cat([edges, edges.flip(0)], dim=1)
    degree = torch.bincount(i, minlength=len(h)) + 1
    total = h / degree[:, None]
    total[i] += h[j] / (degree[i] * degree[j]).sqrt()[:, None]
    return torch.relu(total @ W)
"""

_HOPS = """
def by_distance(A, hops):
    n = len(A)
    far = torch.full((n, n), float("inf")).fill_diagonal_(0)
    for k in range(1, n):
        walk = torch.linalg.matrix_power(A, k) > 0
        far[walk & far.isinf()] = k
    parts = torch.stack([(far == k).float() for k in range(hops + 1)])
    count = parts.sum(2, keepdim=True)
    return torch.where(count > 0, parts / count, 0.0)
"""

_LIMIT = """
def smoothed_out(A, x):
    d = A.sum(1) + 1
    root = d.sqrt()
    return root[:, None] * (root @ x) / d.sum()
"""

_CHANCE = """
def chance(A, x, orders):
    def rough(v):
        return (A * (v[:, None] - v) ** 2).sum()

    count = 0
    for order in orders:
        count += int(rough(x[order]) <= rough(x))
    return (count + 1) / (len(orders) + 1)
"""

_CHEB = """
class ChebConv(nn.Module):
    def __init__(self, inputs, outputs, K):
        super().__init__()
        self.weights = nn.Parameter(torch.randn(K + 1, inputs, outputs))

    def forward(self, L, x):
        M = L - torch.eye(len(L))
        terms = [x, M @ x]
        while len(terms) < len(self.weights):
            terms.append(2 * M @ terms[-1] - terms[-2])
        return sum(t @ W for t, W in zip(terms, self.weights))
"""


def _but(source, *changes):
    """A right answer with a mistake in it."""
    for old, new in changes:
        assert old in source, old
        source = source.replace(old, new)
    return source


def _star(centre="0.2", spoke="0.316", leaf="0.5", stored="13", seen="5"):
    return f"centre, spoke, leaf, stored, seen = {centre}, {spoke}, {leaf}, {stored}, {seen}"


WRONG = {
    "14.1": [
        (_star(centre="0"), "centre is not 0"),
        (_star(centre="0.25"), "degree 5 with its loop"),
        (_star(centre="5**-0.5"), "under a root twice"),
        (_star(spoke="0.5"), "of the centre as well as of the leaf"),
        (_star(spoke="0.1"), "stands under a root"),
        (_star(spoke="0.2"), "not a mean over the five"),
        (_star(spoke="5**-0.5"), "a leaf has degree 2"),
        (_star(leaf="1"), "leaf has degree 2"),
        (_star(leaf="0"), "leaf is not 0"),
        (_star(stored="8"), "the five loops are entries"),
        (_star(stored="9"), "in both directions, (0, 1) and (1, 0)"),
        (_star(stored="25"), "that are not zero"),
        (_star(seen="2"), "that is one layer"),
        (_star(seen="4"), "node 1 itself is among them"),
        (_star(seen="'all'"), "seen is a str"),
    ],
    "14.2": [
        (
            "def layer(edges, h, W):\n"
            "    degree = torch.bincount(edges[0], minlength=len(h))\n"
            "    total = torch.zeros_like(h)\n"
            "    total[edges[0]] += h[edges[1]] / (degree[edges[0]] * degree[edges[1]]).sqrt()[:, None]\n"
            "    return torch.relu(total @ W)",
            "the new features hold",
        ),
        (_LOST, "index_add does"),
        (
            _but(_LAYER, ("total = h / degree[:, None]", "total = torch.zeros_like(h)")),
            "the loops are missing in the sum",
        ),
        (
            _but(
                _LAYER,
                ("total = h / degree[:, None]", "total = torch.zeros_like(h)"),
                ("minlength=n) + 1", "minlength=n)"),
            ),
            "in the sum and in the degrees",
        ),
        (_but(_LAYER, ("minlength=n) + 1", "minlength=n)")), "the node without an edge"),
        (
            _but(_LAYER, ("minlength=n) + 1", "minlength=n).clamp(min=1)")),
            "but not in the degrees",
        ),
        (
            _but(
                _LAYER,
                ("    total = total.index_add(0, j, h[i] / (root[i] * root[j])[:, None])\n", ""),
            ),
            "messages go one way only: the graph",
        ),
        (
            _but(
                _LAYER,
                ("    total = total.index_add(0, j, h[i] / (root[i] * root[j])[:, None])\n", ""),
                ("torch.cat([i, j])", "i"),
            ),
            "and so do the degrees",
        ),
        (_but(_LAYER, ("torch.cat([i, j])", "i")), "count one end of each edge only"),
        (
            _but(
                _LAYER,
                ("h[j] / (root[i] * root[j])", "h[j] / (root[i] * root[i])"),
                ("h[i] / (root[i] * root[j])", "h[i] / (root[j] * root[j])"),
            ),
            "this is the mean over the neighbours",
        ),
        (
            _but(_LAYER, (".float().sqrt()", ".float()"), ("h / degree[", "h / (degree**2)[")),
            "stands under a root",
        ),
        (
            _but(_LAYER, (".float().sqrt()", ".float() ** 0"), ("h / degree[:, None]", "h")),
            "but not divided by the degrees",
        ),
        (_but(_LAYER, ("torch.relu(total @ W)", "total @ W")), "the ReLU is missing"),
        (_but(_LAYER, ("torch.relu(total @ W)", "total.relu() @ W")), "the ReLU comes last"),
        (_but(_LAYER, ("torch.relu(total @ W)", "total.relu()")), "W is missing"),
        (_but(_LAYER, ("n = len(h)", "n = len(h)\n    h *= 2")), "changes the inputs"),
    ],
    "14.3": [
        (
            "def by_distance(A, hops):\n"
            "    parts = torch.stack([(torch.linalg.matrix_power(A, k) > 0).float() for k in range(hops + 1)])\n"
            "    return parts / parts.sum(2, keepdim=True).clamp(min=1)",
            "A to the power of k also reaches nearer nodes",
        ),
        (
            "def by_distance(A, hops):\n"
            "    parts = torch.stack([(torch.linalg.matrix_power(A, k) > 0).float() for k in range(hops + 1)])\n"
            "    parts[1:] *= 1 - torch.eye(len(A))\n"
            "    return parts / parts.sum(2, keepdim=True).clamp(min=1)",
            "not only to its start",
        ),
        (
            "def by_distance(A, hops):\n"
            "    parts = torch.stack([torch.linalg.matrix_power(A, k) for k in range(hops + 1)])\n"
            "    return parts / parts.sum(2, keepdim=True).clamp(min=1)",
            "the powers of A count walks",
        ),
        (_but(_HOPS, ("far == k", "far <= k")), "all nodes within k hops"),
        (_but(_HOPS, ("torch.where(count > 0, parts / count, 0.0)", "parts")), "this adds up"),
        (
            _but(_HOPS, ("torch.where(count > 0, parts / count, 0.0)", "parts / count")),
            "it must stay 0",
        ),
        (_but(_HOPS, ("parts.sum(2", "parts.sum(1")), "the columns are divided"),
        (_but(_HOPS, ("range(hops + 1)", "range(1, hops + 1)")), "distance 0 is missing"),
        (_but(_HOPS, ("range(hops + 1)", "range(hops)")), "the last distance is missing"),
        (_but(_HOPS, ("range(hops + 1)", "range(1, hops + 2)")), "yours begin at 1"),
        (
            _but(
                _HOPS,
                (
                    "torch.where(count > 0, parts / count, 0.0)",
                    "parts / (count * count.mT).clamp(min=1).sqrt()",
                ),
            ),
            "a plain mean is asked for",
        ),
    ],
    "14.4": [
        ("def smoothed_out(A, x): return x.mean(0).expand(len(x), -1)", "the mean over the nodes"),
        (_but(_LIMIT, ("A.sum(1) + 1", "A.sum(1)")), "must count the loops"),
        (
            _but(_LIMIT, ("d.sqrt()", "d"), ("d.sum()", "(d**2).sum()")),
            "the root of the degrees, not the degrees",
        ),
        (
            _but(_LIMIT, ("root[:, None] * (root @ x)", "(d @ x).expand(len(x), -1)")),
            "this is where D̃⁻¹Ã ends",
        ),
        (_but(_LIMIT, (" / d.sum()", "")), "the length of the eigenvector is missing"),
        (_but(_LIMIT, ("d.sum()", "d.sum().sqrt()")), "the length counts twice"),
        (_but(_LIMIT, ("d.sqrt()", "d.rsqrt()"), ("d.sum()", "(1 / d).sum()")), "√d̃, not 1/√d̃"),
        (
            _but(_LIMIT, ("root[:, None] * (root @ x) / d.sum()", "root @ x / root.norm()")),
            "one number for each feature",
        ),
        (
            _but(
                _LIMIT,
                (
                    "root[:, None] * (root @ x) / d.sum()",
                    "(A + torch.eye(len(A))) @ (x / root[:, None]) / root[:, None]",
                ),
            ),
            "this is one step of smoothing",
        ),
    ],
    "14.5": [
        (_but(_CHANCE, ("<= rough(x)", "< rough(x)")), "at most, not less than"),
        (
            _but(_CHANCE, ("(count + 1) / (len(orders) + 1)", "count / len(orders)")),
            "missing, above and below",
        ),
        (
            _but(_CHANCE, ("(count + 1) / (len(orders) + 1)", "count / (len(orders) + 1)")),
            "is missing above",
        ),
        (
            _but(_CHANCE, ("(count + 1) / (len(orders) + 1)", "(count + 1) / len(orders)")),
            "is missing below",
        ),
        (_but(_CHANCE, ("<= rough(x)", ">= rough(x)")), "at least as rough"),
        (_but(_CHANCE, ("<= rough(x)", "> rough(x)")), "orders that are rougher"),
        (
            _but(_CHANCE, ("(count + 1) / (len(orders) + 1)", "count")),
            "this is the number of smooth orders",
        ),
        (
            _but(_CHANCE, ("(v[:, None] - v) ** 2", "(v[:, None] - v).abs()")),
            "the absolute differences",
        ),
        (
            _but(
                _CHANCE,
                ("def rough(v)", "def rough(v, A=A)"),
                ("rough(x[order])", "rough(x, A[order])"),
            ),
            "only the rows of A",
        ),
        (
            _but(
                _CHANCE,
                ("def rough(v)", "def rough(v, A=A)"),
                ("rough(x[order])", "rough(x, A[order][:, order])"),
            ),
            "the other way round",
        ),
        (_but(_CHANCE, ("x[order]", "x")), "so nothing changes"),
    ],
    "14.6": [
        (
            _but(_CHEB, ("2 * M @ terms[-1] - terms[-2]", "M @ terms[-1]")),
            "these are powers of L - I",
        ),
        (_but(_CHEB, ("M = L - torch.eye(len(L))", "M = L")), "L is not shifted"),
        (
            _but(_CHEB, ("2 * M @ terms[-1] - terms[-2]", "M @ terms[-1] - terms[-2]")),
            "the factor 2",
        ),
        (_but(_CHEB, ("- terms[-2]", "+ terms[-2]")), "is to be subtracted"),
        (_but(_CHEB, (" - terms[-2]", "")), "is not subtracted at all"),
        (_but(_CHEB, ("K + 1", "K")), "K + 1 polynomials"),
        (
            _but(
                _CHEB,
                (
                    "zip(terms, self.weights)",
                    "zip(terms[: max(1, len(self.weights) - 1)], self.weights)",
                ),
            ),
            "T_K, is missing",
        ),
        (
            _but(
                _CHEB,
                ("[x, M @ x]", "[0 * x, M @ x]"),
                (" - terms[-2]", " - (terms[-2] if len(terms) > 2 else x)"),
            ),
            "T_0, is missing",
        ),
        (_but(_CHEB, ("t @ W for", "t @ self.weights[0] for")), "share the first matrix"),
        (_but(_CHEB, ("self.weights))", "self.weights)).relu()")), "there is a ReLU"),
        (_but(_CHEB, ("L - torch.eye(len(L))", "torch.eye(len(L)) - L")), "I - L is not L - I"),
        (_but(_CHEB, ("torch.randn(", "torch.zeros(")), "must start as random numbers"),
        (_but(_CHEB, ("inputs, outputs))", "outputs, inputs))")), "as they stand behind x"),
        (
            _but(
                _CHEB,
                (
                    "nn.Parameter(torch.randn(K + 1, inputs, outputs))",
                    "torch.randn(K + 1, inputs, outputs)",
                ),
            ),
            "there is no parameter",
        ),
        (
            _but(_CHEB, ("zip(terms, self.weights)", "zip(terms, self.weights.detach())")),
            "carries no gradient",
        ),
        (
            _but(
                _CHEB,
                (
                    "sum(t @ W for t, W in zip(terms, self.weights))",
                    "sum(terms[k] @ self.weights[k] for k in (0, 1))",
                ),
            ),
            "values are wrong",
        ),
    ],
}
