"""Examinations of the exercises of chapter 13, embeddings, attention and search."""

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from utils.checks.engine import Wrong, call, compare, exercise


@exercise(
    "13.1",
    "Which places hold a word? words != 0 says it, (batch, places).",
    "Multiply the vectors by that mask, with a last axis of 1, before you add them up along the places.",
    "Divide by the number of real words, and not by the number of places; clamp(min=1) saves the empty sentence.",
)
def bag_of_words(bag):
    table = nn.Embedding(12, 5)
    words = torch.tensor([[3, 7, 3, 1], [5, 0, 0, 0], [11, 2, 0, 0], [0, 0, 0, 0]])
    rows = table.weight.detach()
    vectors, counts = rows[words], torch.tensor([4.0, 1.0, 2.0, 0.0])[:, None]
    total = F.embedding_bag(words, rows, mode="sum", padding_idx=0)
    right = F.embedding_bag(words, rows, mode="mean", padding_idx=0)
    once = right.clone()
    once[0] = rows[[3, 7, 1]].mean(0)
    compare(
        call(bag, table, words),
        right,
        {
            "this is the embedding, one vector for each place: a bag has one for each sentence.": vectors,
            "the 0 is no word, and you count it as one: leave it out of the sum and of the number of words.": (
                vectors.mean(1)
            ),
            "the vector of word 0 is still in the sum.": vectors.sum(1) / counts.clamp(min=1),
            "the vector of word 0 is still in the sum, and the empty sentence divides by zero.": vectors.sum(
                1
            )
            / counts,
            "you divide by the number of places: divide by the number of real words.": total / 4,
            "this is the sum: the mean is asked for.": total,
            "this is the sum, and that of the 0s too: a mean without them is asked for.": vectors.sum(
                1
            ),
            "the empty sentence is nan: it divides by zero words, and should be zeros.": total
            / counts,
            "the mean goes over the numbers of each vector: it must go over the words of the sentence.": (
                vectors.mean(2)
            ),
            "the mean goes over the sentences: it must go over the words of each sentence.": vectors.mean(
                0
            ),
            "a word that occurs twice counts twice.": once,
        },
        name="the bag",
    )


@exercise(
    "13.2",
    "How old is key j for query i? i - j. Which ages are allowed?",
    "place = torch.arange(steps); place[:, None] - place has the queries as rows and the keys as columns.",
    "Ages from 0 to window - 1, and place < lengths[:, None, None], joined by &.",
)
def mask_of_three_rules(visible):
    lengths, steps, window = [6, 3, 1, 7], 7, 3

    def table(rule):
        cells = [[[rule(i, j, n) for j in range(steps)] for i in range(steps)] for n in lengths]
        return torch.tensor(cells)

    def allowed(i, j, n):
        return i - window < j <= i and j < n

    compare(
        call(visible, torch.tensor(lengths), steps, window),
        table(allowed),
        {
            "queries and keys are exchanged: the queries are the rows.": table(
                lambda i, j, n: allowed(j, i, n)
            ),
            "this is the opposite: True means that the query may look.": table(
                lambda i, j, n: not allowed(i, j, n)
            ),
            "the future is visible: j must not be later than i.": table(
                lambda i, j, n: i - window < j < n
            ),
            "the queries look into the future: j must not be later than i.": table(
                lambda i, j, n: i <= j < i + window and j < n
            ),
            "the window reaches to both sides: j must not be later than i.": table(
                lambda i, j, n: abs(i - j) < window and j < n
            ),
            "the window is one place too long: i itself is among the `window` places.": table(
                lambda i, j, n: i - window <= j <= i and j < n
            ),
            "each query must see itself: it is among the `window` newest places.": table(
                lambda i, j, n: i - window < j < i and j < n
            ),
            "each query must see itself, and the window ends one place earlier.": table(
                lambda i, j, n: i - window <= j < i and j < n
            ),
            "the window is missing: only the newest places may be seen.": table(
                lambda i, j, n: j <= i and j < n
            ),
            "the fillings are visible: key j must be below the length.": table(
                lambda i, j, n: i - window < j <= i
            ),
            "the first filling is visible: the last real word stands at length - 1.": table(
                lambda i, j, n: i - window < j <= i and j <= n
            ),
            "the length must hide keys, and yours hides queries: a query that is a filling follows the same rules.": table(
                lambda i, j, n: i - window < j <= i < n
            ),
        },
        name="the mask",
    )


@exercise(
    "13.3",
    "Cut the last axis in two, (n, d), and bring n next to the batch: then each head is a batch of its own.",
    "z.unflatten(-1, (n, -1)).transpose(1, 2) has the shape (batch, n, places, d).",
    "After the attention go back the same way: transpose(1, 2), then flatten(2).",
)
def multi_head(heads):
    q, k, v = torch.randn(3, 4, 10), torch.randn(3, 6, 10), torch.randn(3, 6, 10)
    n, d = 2, 5
    library = nn.MultiheadAttention(10, n, batch_first=True)
    with torch.no_grad():
        library.in_proj_weight.copy_(torch.eye(10).repeat(3, 1))
        library.in_proj_bias.zero_()
        library.out_proj.weight.copy_(torch.eye(10))
        library.out_proj.bias.zero_()
        right = library(q, k, v, need_weights=False)[0]

    def by_parts(parts, features=d, axis=-1):
        found = []
        for part in parts:
            weights = (q[..., part] @ k[..., part].mT / math.sqrt(features)).softmax(axis)
            found.append(weights @ v[..., part])
        return found

    blocks = [list(range(5)), list(range(5, 10))]
    in_turn = by_parts([list(range(0, 10, 2)), list(range(1, 10, 2))])
    q_cut, k_cut, v_cut = (z.reshape(3, n, -1, d) for z in (q, k, v))
    cut = F.scaled_dot_product_attention(q_cut, k_cut, v_cut)
    separate = torch.stack(by_parts(blocks), 1)  # (batch, n, queries, d)
    one = F.scaled_dot_product_attention(q, k, v)
    compare(
        call(heads, q, k, v, n),
        right,
        {
            "this is a single head: each part of the features needs weights of its own.": one,
            "the scores are divided by the root of size: each head has only d = size / n features.": torch.cat(
                by_parts(blocks, 10), -1
            ),
            "the scores are not divided by the root of d.": torch.cat(by_parts(blocks, 1), -1),
            "the softmax goes over the queries: the weights of each query must add up to 1 over the keys.": (
                torch.cat(by_parts(blocks, axis=-2), -1)
            ),
            "a view to (batch, n, places, d) mixes places with features: cut the last axis in two, and then "
            "transpose.": cut.reshape(3, 4, 10),
            "a view to (batch, n, places, d) mixes places with features, although you transpose back "
            "afterwards.": cut.transpose(1, 2).flatten(2),
            "the heads are put together without transposing back: (batch, n, queries, d) must become "
            "(batch, queries, n, d) first.": separate.reshape(3, 4, 10),
            "the heads take the features in turn: a head has d neighbouring features.": torch.stack(
                in_turn, -1
            ).flatten(2),
            "the heads take the features in turn, and put them back in blocks: a head has d neighbouring "
            "features.": torch.cat(in_turn, -1),
            "the heads follow each other in the wrong order.": torch.cat(
                by_parts(blocks)[::-1], -1
            ),
            "this is the mean of the heads: put them side by side.": separate.mean(1),
            "this is the sum of the heads: put them side by side.": separate.sum(1),
            "the heads still have an axis of their own: put them side by side.": separate,
            "the heads have an axis of their own behind the queries: flatten it.": separate.transpose(
                1, 2
            ),
        },
        name="the result",
        atol=1e-5,
    )


@exercise(
    "13.4",
    "The logits are no log-probabilities yet. gather() picks the one of the symbol that came.",
    "Which steps count? Those with no end before them; a cumsum over the steps tells.",
    "said = (answers == end).cumsum(1) - (answers == end).int() == 0; the length is said.sum(1).",
)
def likelihood(scores):
    logits, end, alpha = 2 * torch.randn(5, 6, 4), 3, 0.7
    answers = torch.tensor(
        [
            [0, 2, 3, 1, 0, 2],
            [3, 0, 1, 3, 2, 0],
            [1, 1, 0, 2, 0, 3],
            [2, 3, 3, 3, 3, 3],
            [0, 1, 2, 3, 0, 3],
        ]
    )
    z = logits.double().numpy()
    log_p = z - np.log(np.exp(z).sum(2, keepdims=True))
    over_steps = z - np.log(np.exp(z).sum(1, keepdims=True))
    first = [row.index(end) + 1 for row in answers.tolist()]
    last = [6 - row[::-1].index(end) for row in answers.tolist()]

    def score(table, said, divisor, reduce=np.sum):
        found = []
        for b, row in enumerate(answers.tolist()):
            values = [table[b, t, row[t]] for t in range(said[b])]
            found.append(reduce(values) / divisor[b] ** alpha if values else 0.0)
        return torch.tensor(np.array(found)).float()

    whole, without = [6] * 5, [n - 1 for n in first]
    right = score(log_p, first, first)
    compare(
        call(scores, logits, answers, end, alpha),
        right,
        {
            "the filling is in the sum: stop at the first end.": score(log_p, whole, first),
            "the filling is in the sum and in the length: stop at the first end.": score(
                log_p, whole, whole
            ),
            "the sum is right, but it is divided by the number of steps: filling has no length.": score(
                log_p, first, whole
            ),
            "the end is missing in the sum: it is a decision of the decoder as well.": score(
                log_p, without, first
            ),
            "the end is missing, in the sum and in the length: it is a decision of the decoder as well.": score(
                log_p, without, [max(n, 1) for n in without]
            ),
            "the end is missing, in the sum and in the length, and an empty answer divides by zero.": torch.where(
                torch.tensor(without) > 0,
                score(log_p, without, [max(n, 1) for n in without]),
                math.nan,
            ),
            "you stop at the last end: what follows the first one is filling.": score(
                log_p, last, last
            ),
            "the length to the power of alpha is missing.": score(log_p, first, [1] * 5),
            "the sum is divided by the length itself: raise it to the power of alpha.": (
                score(log_p, first, [1] * 5) / torch.tensor(first)
            ),
            "the length is multiplied: divide by it.": score(log_p, first, [1 / n for n in first]),
            "these are logits, and no log-probabilities: log_softmax comes first.": score(
                z, first, first
            ),
            "the log_softmax goes over the steps: it belongs to the symbols, the last axis.": score(
                over_steps, first, first
            ),
            "these are sums of probabilities: add up their logarithms.": score(
                np.exp(log_p), first, first
            ),
            "this is the probability of the answer: its logarithm is asked for.": score(
                np.exp(log_p), first, first, np.prod
            ),
            "the sign is wrong: this is a loss, and a log-probability is negative.": -right,
        },
        name="the tensor of scores",
    )


@exercise(
    "13.5",
    "past = day[:, None] - torch.arange(1, 29) holds the numbers of the 28 days, (n, 28), newest first.",
    "The query is the kind of the forecast day, kind[day]; it is compared with kind[past].",
    "weights = (sharp * same - ago / tau).softmax(1), then the weighted sum of flow[past], (n, 28, stations).",
)
def untrained_attention(look_back):
    flow, kind = 100 + 50 * torch.randn(60, 3), torch.randint(3, (60,))
    day, sharp, tau = torch.tensor([28, 59, 40, 33, 47]), 1.5, 9.0
    people, kinds = flow.double().numpy(), kind.numpy()

    def forecast(ages=range(1, 29), score=None, query=0, normal=True, power=np.exp):
        rows = []
        for t in day.tolist():
            past = [t - a for a in ages]
            rule = score or (lambda same, a: sharp * same - a / tau)
            values = [
                rule(kinds[p] == kinds[t - query], a) for p, a in zip(past, ages, strict=True)
            ]
            weights = power(np.array(values))
            rows.append(weights @ people[past] / (weights.sum() if normal else 1))
        return torch.tensor(np.stack(rows)).float()

    def column_wise():
        past = day.numpy()[:, None] - np.arange(1, 29)
        z = np.exp(sharp * (kinds[past] == kinds[day.numpy()][:, None]) - np.arange(1, 29) / tau)
        return torch.tensor(np.einsum("na,nas->ns", z / z.sum(0), people[past])).float()

    compare(
        call(look_back, flow, kind, day, sharp, tau),
        forecast(),
        {
            "the forecast day looks at itself: the past begins one day ago.": forecast(range(28)),
            "the ages begin at 1, and so does the list of the days: yours looks back 29 days.": forecast(
                range(1, 30)
            ),
            "28 days are asked for: yours looks back 27.": forecast(range(1, 28)),
            "an old day gets more weight than a new one: subtract a / tau, with a = 1 for the newest day.": forecast(
                score=lambda same, a: sharp * same + a / tau
            ),
            "the age is multiplied by tau: divide.": forecast(
                score=lambda same, a: sharp * same - a * tau
            ),
            "the kind of the day before is compared: the forecast day's own kind is the query.": forecast(
                query=1
            ),
            "the kinds count the wrong way: days of the *same* kind get `sharp`.": forecast(
                score=lambda same, a: sharp * (not same) - a / tau
            ),
            "the age is not in the scores.": forecast(score=lambda same, a: sharp * same),
            "the kind is not in the scores.": forecast(score=lambda same, a: -a / tau),
            "the weights do not add up to 1: a softmax divides by their sum.": forecast(
                normal=False
            ),
            "the scores themselves are used as weights: the softmax is missing.": forecast(
                normal=False, power=np.array
            ),
            "the scores are divided by their sum: the softmax takes their exponential first.": forecast(
                power=np.array
            ),
            "the softmax goes over the forecasts: it must go over the 28 days.": column_wise(),
            "all days weigh the same.": forecast(score=lambda same, a: 0.0),
        },
        name="the forecast",
        rtol=1e-4,
        atol=1e-3,
    )


def _best_of_all(first, table, steps):
    """The best answer and its log-probability, by trying all."""
    paths = np.indices((len(first),) * steps).reshape(steps, -1).T
    log_p = first[paths[:, 0]] + table[paths[:, :-1], paths[:, 1:]].sum(1)
    return tuple(paths[log_p.argmax()].tolist()), float(log_p.max())


def _beam(first, table, steps, width):
    """The best answer that a beam finds."""
    kept = [((i,), p) for i, p in enumerate(first)]
    for _ in range(steps - 1):
        kept = sorted(kept, key=lambda pair: -pair[1])[:width]
        kept = [((*path, j), p + q) for path, p in kept for j, q in enumerate(table[path[-1]])]
    return max(kept, key=lambda pair: pair[1])[0]


def _chain(seed, symbols):
    """Log-probabilities: of the first symbol, of the next ones."""
    drawn = np.random.default_rng(seed).dirichlet(np.ones(symbols), size=symbols + 1)
    return np.log(drawn[0]), np.log(drawn[1:])


@exercise(
    "13.6",
    "scores[:, None] + table has all ways from each last symbol (row) to each new one (column).",
    "Of each column keep the best: max(0) gives its score, and the row it comes from.",
    "Keep the beginnings as rows of a tensor: torch.cat([beginnings[rows], new symbols as a column], 1).",
)
def certain_search(best_answer):
    steps = 5
    for seed in (261, 163, 1254):  # one best answer, which greedy search and beams of 2 to 4 miss
        first, table = _chain(seed, 4)
        path, log_p = _best_of_all(first, table, steps)
        greedy, beam = (_beam(first, table, steps, width) for width in (1, 4))
        turned, unbegun = (
            _best_of_all(*p, steps)[0] for p in ((first, table.T), (0 * first, table))
        )
        shorter, longer = (_best_of_all(first, table, n)[0] for n in (steps - 1, steps + 1))
        tops = [_best_of_all(first, table, n)[0][-1] for n in range(1, steps + 1)]
        given = call(best_answer, torch.tensor(first), torch.tensor(table), steps)
        if not isinstance(given, tuple | list) or len(given) != 2:
            raise Wrong("two things are asked for: the answer and its log-probability.")
        compare(
            given[0],
            torch.tensor(path),
            {
                "this is the greedy answer: a good beginning may be worse at first.": torch.tensor(
                    greedy
                ),
                "this is what a beam finds, which drops too much: keep the best beginning for *each* last symbol.": (
                    torch.tensor(beam)
                ),
                "these are the last symbols of the best beginnings of each length, which do not belong to one "
                "answer: remember where each one came from.": torch.tensor(tops),
                "the answer is read backwards: turn it around.": torch.tensor(path[::-1]),
                "the table is read the wrong way: row i belongs to the symbol before.": torch.tensor(
                    turned
                ),
                "the first symbol's probabilities are missing.": torch.tensor(unbegun),
                "the answer is one symbol too long: the first symbol is one of the steps.": torch.tensor(
                    longer
                ),
                "the answer is one symbol too short: steps symbols, the first one among them.": torch.tensor(
                    shorter
                ),
            },
            name="the answer",
        )
        compare(
            given[1],
            log_p,
            {
                "this is the probability: its logarithm is asked for.": math.exp(log_p),
                "this is a loss: a log-probability is negative.": -log_p,
                "the first symbol is missing in the log-probability.": log_p
                - float(first[path[0]]),
                "this is a mean for each symbol: the log-probability of the whole answer is asked for.": log_p
                / steps,
            },
            name="the log-probability",
            rtol=1e-6,
        )
    first, table = [0.5, 0.4, 0.1], [[0.34, 0.33, 0.33], [0.05, 0.9, 0.05], [0.1, 0.1, 0.8]]
    inputs = (torch.tensor(part, dtype=torch.double).log() for part in (first, table))
    given = call(best_answer, *inputs, 25)  # whoever tries them all comes to no end
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise Wrong("two things are asked for: the answer and its log-probability.")
    compare(given[0], torch.ones(25, dtype=torch.long), name="the answer of 25 symbols")
    compare(
        given[1],
        math.log(0.4) + 24 * math.log(0.9),
        name="the log-probability of 25 symbols",
        rtol=1e-6,
    )
