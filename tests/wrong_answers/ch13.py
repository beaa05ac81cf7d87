"""Typical wrong answers to the exercises of chapter 13: (code, part of the diagnosis)."""

_VISIBLE = """
def visible(lengths, steps, window):
    i = torch.arange(steps)[None, :, None]
    j = torch.arange(steps)[None, None, :]
    return (j <= i) & (j > i - window) & (j < lengths[:, None, None])
"""

_HEADS = """
def heads(q, k, v, n):
    d = q.shape[-1] // n
    found = []
    for h in range(n):
        part = slice(h * d, h * d + d)
        weights = (q[..., part] @ k[..., part].mT / math.sqrt(d)).softmax(-1)
        found.append(weights @ v[..., part])
    return torch.cat(found, -1)
"""

_CUT = """
def heads(q, k, v, n):
    b, m, size = q.shape
    q, k, v = (z.unflatten(2, (n, size // n)).transpose(1, 2) for z in (q, k, v))
    found = F.scaled_dot_product_attention(q, k, v)
    return found.transpose(1, 2).reshape(b, m, size)
"""

_SCORES = """
def scores(logits, answers, end, alpha):
    found = []
    for row, answer in zip(logits.log_softmax(-1), answers):
        n = answer.tolist().index(end) + 1
        total = sum(row[t, answer[t]] for t in range(n))
        found.append(total / n**alpha)
    return torch.stack(found)
"""

_LOOK = """
def look_back(flow, kind, day, sharp, tau):
    found = []
    for t in day.tolist():
        ago = torch.arange(1, 29)
        score = sharp * (kind[t - ago] == kind[t]) - ago / tau
        weights = score.softmax(0)
        found.append(weights @ flow[t - ago])
    return torch.stack(found)
"""

_BEST = """
def best_answer(first, table, steps):
    scores, back = first, []
    for _ in range(steps - 1):
        scores, rows = (scores[:, None] + table).max(0)
        back.append(rows)
    answer = [int(scores.argmax())]
    for rows in reversed(back):
        answer.append(int(rows[answer[-1]]))
    return torch.tensor(answer[::-1]), scores.max()
"""

_BEAM = """
def best_answer(first, table, steps):
    live, scores = torch.arange(len(first))[:, None], first
    for _ in range(steps - 1):
        keep = scores.argsort(descending=True)[:WIDTH]
        scores = (scores[keep, None] + table[live[keep, -1]]).flatten()
        new = torch.arange(len(first)).repeat(len(keep))[:, None]
        live = torch.cat([live[keep].repeat_interleave(len(first), 0), new], 1)
    return live[scores.argmax()], scores.max()
"""


def _but(source, *changes):
    """A right answer with a mistake in it."""
    for old, new in changes:
        assert old in source, old
        source = source.replace(old, new)
    return source


def _bag(last, before="real = (words != 0)[..., None]"):
    return f"def bag(table, words):\n    {before}\n    return {last}"


WRONG = {
    "13.1": [
        (_bag("table(words)"), "this is the embedding, one vector for each place"),
        (_bag("table(words).mean(1)"), "the 0 is no word, and you count it as one"),
        (_bag("table(words).sum(1) / real.sum(1).clamp(min=1)"), "word 0 is still in the sum."),
        (_bag("table(words).sum(1) / real.sum(1)"), "still in the sum, and the empty sentence"),
        (_bag("(table(words) * real).mean(1)"), "you divide by the number of places"),
        (_bag("(table(words) * real).sum(1)"), "this is the sum: the mean"),
        (_bag("table(words).sum(1)"), "this is the sum, and that of the 0s too"),
        (_bag("(table(words) * real).sum(1) / real.sum(1)"), "the empty sentence is nan"),
        (_bag("table(words).mean(-1)"), "over the numbers of each vector"),
        (_bag("table(words).mean(0)"), "over the sentences"),
        (
            _bag(
                "torch.stack([table(r[r != 0].unique()).sum(0) / max(1, len(r[r != 0].unique())) for r in words])"
            ),
            "a word that occurs twice counts twice",
        ),
        (
            _bag(
                "table(words).sum(1) / real.sum(1).clamp(min=1)",
                "table.weight.data[0] = 0; real = (words != 0)[..., None]",
            ),
            "changes the inputs",
        ),
    ],
    "13.2": [
        (
            _but(
                _VISIBLE,
                ("(j <= i) & (j > i - window)", "(i <= j) & (i > j - window)"),
                ("(j < lengths", "(i < lengths"),
            ),
            "queries and keys are exchanged",
        ),
        (_but(_VISIBLE, ("return (", "return ~((")) + ")", "this is the opposite"),
        (_but(_VISIBLE, ("(j <= i) & ", "")), "the future is visible"),
        (
            _but(_VISIBLE, ("(j <= i) & (j > i - window)", "(j >= i) & (j < i + window)")),
            "the queries look into the future",
        ),
        (
            _but(_VISIBLE, ("(j <= i) & (j > i - window)", "((i - j).abs() < window)")),
            "reaches to both sides",
        ),
        (_but(_VISIBLE, ("j > i - window", "j >= i - window")), "one place too long"),
        (_but(_VISIBLE, ("j <= i", "j < i")), "each query must see itself: it is"),
        (
            _but(_VISIBLE, ("j <= i", "j < i"), ("j > i - window", "j >= i - window")),
            "must see itself, and the window",
        ),
        (_but(_VISIBLE, (" & (j > i - window)", "")), "the window is missing"),
        (
            _but(_VISIBLE, ("j < lengths[:, None, None]", "lengths[:, None, None] > 0")),
            "the fillings are visible",
        ),
        (_but(_VISIBLE, ("j < lengths", "j <= lengths")), "the first filling is visible"),
        (_but(_VISIBLE, ("j < lengths", "i < lengths")), "yours hides queries"),
        (
            _but(_VISIBLE, ("return (j", "return 1.0 * ((j")) + ")",
            "dtype torch.float32 instead",
        ),
        (_but(_VISIBLE, ("lengths[:, None, None]", "lengths")), "your code raises RuntimeError"),
    ],
    "13.3": [
        (
            "def heads(q, k, v, n): return F.scaled_dot_product_attention(q, k, v)",
            "this is a single head",
        ),
        (_but(_HEADS, ("math.sqrt(d)", "math.sqrt(n * d)")), "the root of size"),
        (_but(_HEADS, (" / math.sqrt(d)", "")), "not divided by the root of d"),
        (_but(_HEADS, ("softmax(-1)", "softmax(-2)")), "goes over the queries"),
        (
            _but(
                _CUT,
                (
                    "z.unflatten(2, (n, size // n)).transpose(1, 2)",
                    "z.reshape(b, n, -1, size // n)",
                ),
                ("found.transpose(1, 2)", "found"),
            ),
            "cut the last axis in two",
        ),
        (
            _but(
                _CUT,
                (
                    "z.unflatten(2, (n, size // n)).transpose(1, 2)",
                    "z.reshape(b, n, -1, size // n)",
                ),
            ),
            "although you transpose back",
        ),
        (_but(_CUT, ("found.transpose(1, 2)", "found")), "without transposing back"),
        (
            _but(
                _HEADS,
                ("slice(h * d, h * d + d)", "slice(h, None, n)"),
                ("torch.cat(found, -1)", "torch.stack(found, -1).flatten(2)"),
            ),
            "in turn: a head",
        ),
        (_but(_HEADS, ("slice(h * d, h * d + d)", "slice(h, None, n)")), "put them back in blocks"),
        (_but(_HEADS, ("cat(found, -1)", "cat(found[::-1], -1)")), "in the wrong order"),
        (_but(_HEADS, ("cat(found, -1)", "stack(found).mean(0)")), "the mean of the heads"),
        (_but(_HEADS, ("torch.cat(found, -1)", "sum(found)")), "the sum of the heads"),
        (_but(_HEADS, ("cat(found, -1)", "stack(found, 1)")), "still have an axis of their own"),
        (_but(_HEADS, ("cat(found, -1)", "stack(found, 2)")), "behind the queries: flatten it"),
    ],
    "13.4": [
        (_but(_SCORES, ("range(n)", "range(len(answer))")), "the filling is in the sum: stop"),
        (
            _but(_SCORES, ("answer.tolist().index(end) + 1", "len(answer)")),
            "in the sum and in the length: stop",
        ),
        (_but(_SCORES, ("/ n**alpha", "/ len(answer) ** alpha")), "filling has no length"),
        (
            _but(_SCORES, ("range(n)", "range(n - 1)"), ("torch.stack", "torch.tensor")),
            "the end is missing in the sum: it",
        ),
        (
            _but(
                _SCORES,
                ("range(n)", "range(n - 1)"),
                ("n**alpha", "max(n - 1, 1) ** alpha"),
                ("torch.stack", "torch.tensor"),
            ),
            "the end is missing, in the sum and in the length: it",
        ),
        (
            "def scores(logits, answers, end, alpha):\n"
            "    log_p = logits.log_softmax(2).gather(2, answers[..., None])[..., 0]\n"
            "    said = (answers == end).cumsum(1) == 0\n    return (log_p * said).sum(1) / said.sum(1) ** alpha",
            "an empty answer divides by zero",
        ),
        (
            _but(
                _SCORES,
                (
                    "answer.tolist().index(end) + 1",
                    "len(answer) - answer.tolist()[::-1].index(end)",
                ),
            ),
            "you stop at the last end",
        ),
        (_but(_SCORES, (" / n**alpha", "")), "to the power of alpha is missing"),
        (_but(_SCORES, ("n**alpha", "n")), "divided by the length itself"),
        (_but(_SCORES, ("/ n**alpha", "* n**alpha")), "the length is multiplied"),
        (_but(_SCORES, (".log_softmax(-1)", "")), "these are logits"),
        (_but(_SCORES, ("log_softmax(-1)", "log_softmax(1)")), "goes over the steps"),
        (_but(_SCORES, ("log_softmax", "softmax")), "sums of probabilities"),
        (
            _but(_SCORES, ("log_softmax", "softmax"), ("sum(row", "math.prod(row")),
            "this is the probability of the answer",
        ),
        (_but(_SCORES, ("total /", "-total /")), "this is a loss"),
    ],
    "13.5": [
        (_but(_LOOK, ("arange(1, 29)", "arange(28)")), "looks at itself: the past"),
        (_but(_LOOK, ("arange(1, 29)", "arange(1, 30)")), "yours looks back 29 days"),
        (_but(_LOOK, ("arange(1, 29)", "arange(1, 28)")), "yours looks back 27"),
        (_but(_LOOK, ("- ago / tau", "+ ago / tau")), "an old day gets more weight"),
        (_but(_LOOK, ("ago / tau", "ago * tau")), "multiplied by tau"),
        (_but(_LOOK, ("kind[t])", "kind[t - 1])")), "the kind of the day before"),
        (_but(_LOOK, ("== kind", "!= kind")), "the kinds count the wrong way"),
        (_but(_LOOK, (" - ago / tau", "")), "the age is not in the scores"),
        (_but(_LOOK, ("sharp * (kind[t - ago] == kind[t])", "")), "the kind is not in the scores"),
        (_but(_LOOK, ("softmax(0)", "exp()")), "do not add up to 1"),
        (_but(_LOOK, (".softmax(0)", "")), "the softmax is missing"),
        (_but(_LOOK, ("score.softmax(0)", "score / score.sum()")), "divided by their sum"),
        (
            "def look_back(flow, kind, day, sharp, tau):\n    ago = torch.arange(1, 29)\n    past = day[:, None] - ago\n"
            "    weights = (sharp * (kind[past] == kind[day][:, None]) - ago / tau).softmax(0)\n"
            '    return torch.einsum("nd,nds->ns", weights, flow[past])',
            "goes over the forecasts",
        ),
        (_but(_LOOK, ("score.softmax(0)", "torch.full((28,), 1 / 28)")), "all days weigh the same"),
    ],
    "13.6": [
        (_BEAM.replace("WIDTH", "1"), "this is the greedy answer"),
        (_BEAM.replace("WIDTH", "3"), "this is what a beam finds"),
        (
            "def best_answer(first, table, steps):\n    scores, answer = first, [first.argmax()]\n"
            "    for _ in range(steps - 1):\n        scores = (scores[:, None] + table).max(0).values\n"
            "        answer.append(scores.argmax())\n    return torch.stack(answer), scores.max()",
            "remember where each one came from",
        ),
        (_but(_BEST, ("answer[::-1]", "answer")), "read backwards"),
        (_but(_BEST, ("+ table)", "+ table.T)")), "read the wrong way"),
        (
            _but(_BEST, ("back = first,", "back = 0 * first,")),
            "the first symbol's probabilities are missing",
        ),
        (_but(_BEST, ("steps - 1", "steps")), "one symbol too long"),
        (_but(_BEST, ("steps - 1", "steps - 2")), "one symbol too short"),
        (_but(_BEST, ("scores.max()", "scores.max().exp()")), "its logarithm is asked for"),
        (_but(_BEST, ("scores.max()", "-scores.max()")), "a log-probability is negative"),
        (
            _but(_BEST, ("scores.max()", "scores.max() - first[answer[-1]]")),
            "first symbol is missing in",
        ),
        (_but(_BEST, ("scores.max()", "scores.max() / steps")), "a mean for each symbol"),
        (_but(_BEST, (", scores.max()", "")), "two things are asked for"),
    ],
}
