"""Chapter 13's attention is PyTorch's, its batches ignore padding, its searches find what they say."""

import itertools
import math

import pytest
import torch
from taught import taught_namespace
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close


@pytest.fixture(scope="module")
def taught():
    return taught_namespace("13_sequences_attention")


def gradients(y, inputs):
    return torch.autograd.grad((y * torch.arange(1.0, y.shape[-1] + 1)).square().sum(), inputs)


def a_mask(kind, batch, queries, keys):
    """Masks that leave something to see in every row."""
    if kind == "none":
        return None
    if kind == "padding":  # for all queries the same, (batch, 1, keys)
        return torch.arange(keys) < torch.randint(1, keys + 1, (batch, 1, 1))
    if kind == "causal":
        return torch.ones(queries, keys, dtype=torch.bool).tril()
    mask = torch.rand(batch, queries, keys) < 0.5
    mask[..., torch.randint(keys, ())] = True
    return mask


@pytest.mark.parametrize("kind", ["none", "padding", "causal", "random"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("seed", range(5))
def test_attention_is_that_of_torch(taught, seed, dtype, kind):
    torch.manual_seed(seed)
    batch, queries, keys, size, features = torch.randint(1, 9, (5,)).tolist()
    sizes = [(batch, queries, size), (batch, keys, size), (batch, keys, features)]
    q, k, v = inputs = [(3 * torch.randn(s, dtype=dtype)).requires_grad_() for s in sizes]
    mask = a_mask(kind, batch, queries, keys)
    ours = taught["attention"](q, k, v, mask)
    theirs = F.scaled_dot_product_attention(q, k, v, mask)
    assert ours.shape == (batch, queries, features) and ours.dtype == dtype
    assert_close(ours, theirs)
    assert_close(gradients(ours, inputs), gradients(theirs, inputs), atol=1e-4, rtol=1e-4)
    weights = taught["attention_weights"](q, k, mask)
    assert_close(weights.sum(-1), torch.ones(batch, queries, dtype=dtype))
    if mask is not None:
        assert not weights[~mask.expand_as(weights)].any()


def test_attention_with_heads_and_the_causal_option(taught):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, 5, 8, dtype=torch.float64) for _ in range(3))  # three heads
    mask = torch.ones(5, 5, dtype=torch.bool).tril()
    theirs = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert_close(taught["attention"](q, k, v, mask), theirs)


@pytest.mark.parametrize("seed", range(3))
def test_the_encoder_equals_a_gru_on_each_request_alone(taught, seed):
    torch.manual_seed(seed)
    encoder = taught["Encoder"](20, 8)
    lengths = torch.randint(1, 7, (5,)).tolist()
    x = nn.utils.rnn.pad_sequence([torch.randint(1, 20, (n,)) for n in lengths], batch_first=True)
    x = F.pad(x, (0, 2))  # more padding than any request needs
    states, last, real = encoder(x)
    assert states.shape == (5, x.shape[1], 8) and real.sum(1).tolist() == lengths
    for i, n in enumerate(lengths):
        alone, ends = encoder.gru(encoder.table(x[i : i + 1, :n]))
        assert_close(states[i, :n], alone[0])
        assert_close(last[i], ends.flatten())


@pytest.mark.parametrize("name", ["Translator", "AttentiveTranslator"])
def test_padding_and_later_symbols_change_nothing(taught, name):
    torch.manual_seed(1)
    model = taught[name](20, 11, size=8)
    x, y = torch.randint(1, 20, (4, 6)), torch.randint(11, (4, 5))
    logits = model(x, y)
    assert logits.shape == (4, 5, 11)
    assert_close(model(F.pad(x, (0, 3)), y), logits)
    assert_close(model(x, y[:, :3]), logits[:, :3])
    assert not torch.allclose(model(x.flip(1), y), logits)  # it does read the words, in order


def test_attention_changes_the_context_and_no_size(taught):
    torch.manual_seed(2)
    plain, attentive = (taught[name](20, 11, 8) for name in ("Translator", "AttentiveTranslator"))
    attentive.load_state_dict(plain.state_dict())
    memory, state = plain.encoder(torch.randint(1, 20, (3, 6))), torch.randn(3, 4, 8)
    assert_close(plain.context(state, memory), plain.look(memory[1])[:, None].expand(3, 4, 8))
    query, mask = plain.look(state), memory[2][:, None]
    context = attentive.context(state, memory)
    assert_close(context, taught["attention"](query, memory[0], memory[0], mask))


def a_chain(seed, symbols, sparse=False):
    """log-probabilities (symbols + 1, symbols) of the next symbol after each; the last row starts."""
    generator = torch.Generator().manual_seed(seed)
    p = torch.rand(symbols + 1, symbols, generator=generator, dtype=torch.float64) ** 3
    if sparse:
        p[torch.rand(p.shape, generator=generator) < 0.3] = 0
        p[:, seed % symbols] += 0.01
    return (p / p.sum(1, keepdim=True)).log()


def searches(taught, log_p):
    """greedy and beam search of a chain, and the beginnings of which they asked for the next symbol."""
    asked = []

    def step(prefixes):
        asked.append(len(prefixes))
        return log_p[prefixes[:, -1]]

    start = torch.tensor([[log_p.shape[1]]])
    return (
        lambda end, limit: taught["greedy_search"](step, start, end, limit),
        lambda end, limit, **options: taught["beam_search"](step, start, end, limit, **options),
        asked,
    )


def score_of(log_p, answer):
    states = [log_p.shape[1], *answer]
    return sum(log_p[a, b].item() for a, b in itertools.pairwise(states))


def by_brute_force(log_p, end, limit, alpha=0.0):
    """The best of all answers that end with `end`, or have reached the limit."""
    best = (-math.inf, ())
    for length in range(1, limit + 1):
        for answer in itertools.product(range(log_p.shape[1]), repeat=length):
            stopped = length == limit if end is None else answer[-1] == end or length == limit
            if stopped and end not in answer[:-1]:
                best = max(best, (score_of(log_p, answer) / length**alpha, answer))
    return best


@pytest.mark.parametrize("alpha", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("end", [None, 0, 2])
@pytest.mark.parametrize("seed", range(6))
def test_width_one_is_greedy_and_no_limit_is_exhaustive(taught, seed, end, sparse, alpha):
    log_p, limit = a_chain(seed, 3 + seed % 2, sparse), 4
    greedy, beam, asked = searches(taught, log_p)
    answer, score, cost = greedy(end, limit)
    assert len(asked) == cost and score == pytest.approx(score_of(log_p, answer.tolist()))
    symbols = list(answer.tolist())
    for i, symbol in enumerate(symbols):  # each the likeliest after the one before
        assert symbol == log_p[symbols[i - 1] if i else -1].argmax().item()
    assert len(symbols) == limit or symbols.index(end) == len(symbols) - 1

    one, one_score, one_cost = beam(end, limit, width=1, alpha=alpha)
    assert torch.equal(one, answer) and one_cost == cost
    assert one_score == pytest.approx(score / len(answer) ** alpha)

    asked.clear()
    best, best_score, best_cost = beam(end, limit, alpha=alpha)
    true_score, _ = by_brute_force(log_p, end, limit, alpha)
    assert best_score == pytest.approx(true_score) and sum(asked) == best_cost
    assert best_score == pytest.approx(score_of(log_p, best.tolist()) / len(best) ** alpha)
    assert best_score >= one_score - 1e-9


@pytest.mark.parametrize("width", [1, 2, 3, 5])
@pytest.mark.parametrize("end", [None, 1])
def test_a_beam_keeps_its_width(taught, width, end):
    for seed in range(30):
        log_p = a_chain(seed, 5)
        _, beam, asked = searches(taught, log_p)
        answer, score, cost = beam(end, 5, width=width)
        assert asked[0] == 1 and max(asked) <= width and sum(asked) == cost
        assert score == pytest.approx(score_of(log_p, answer.tolist()))
        assert end is None or end not in answer[:-1].tolist()


def test_a_narrow_beam_misses_the_best_answer_more_often(taught):
    missed = {1: 0, 3: 0, 5: 0}
    for seed in range(60):
        log_p = a_chain(seed, 4)
        _, beam, _ = searches(taught, log_p)
        best, _ = by_brute_force(log_p, None, 4)
        for width in missed:
            missed[width] += beam(None, 4, width=width)[1] < best - 1e-9
    assert missed[1] > missed[3] >= missed[5] and missed[1] > 10


def test_length_normalisation_lets_the_longer_answer_win(taught):
    end = 1
    log_p = torch.tensor([[0.8, 0.2], [0.0, 1.0], [0.6, 0.4]], dtype=torch.float64).log()
    _, beam, _ = searches(taught, log_p)  # 0 goes on, 1 ends; the last row starts
    assert beam(end, 3, width=2)[0].tolist() == [1]  # 0.4 against 0.6 * 0.8 * 0.8 = 0.384
    assert beam(end, 3, width=2, alpha=1.0)[0].tolist() == [0, 0, 0]


def test_the_example_in_which_greedy_is_wrong(taught):
    rows = [[0.34, 0.33, 0.33], [0.05, 0.05, 0.9], [0.1, 0.1, 0.8], [0.5, 0.4, 0.1]]
    log_p = torch.tensor(rows, dtype=torch.float64).log()
    greedy, beam, _ = searches(taught, log_p)
    assert greedy(None, 3)[0].tolist() == [0, 0, 0]
    assert (
        beam(None, 3, width=2)[0].tolist() == [1, 2, 2] == list(by_brute_force(log_p, None, 3)[1])
    )
