"""Examinations of the exercises of chapter 11, recurrent networks."""

import math

import numpy as np
import torch
from torch import nn

from utils.checks.engine import Wrong, call, compare, exercise, same


def _double(value):
    """Single and double precision are both welcome; anything else stays as it is."""
    single = isinstance(value, torch.Tensor) and value.dtype is torch.float32
    return value.double() if single else value


@exercise(
    "11.1",
    "How many steps are there between the first times of two neighbouring pieces?",
    "There are as many steps as points, so a step is 2π / points, and the end of the piece does not belong to it.",
    "Time i of piece k is 2π(k + i / points); pieces[:, None] makes a column of the k.",
)
def half_open(times):
    pieces, points = torch.tensor([0, 3, 1, 7]), 9
    k, i = np.array([[0.0], [3.0], [1.0], [7.0]]), np.arange(9.0)
    whole, half = 2 * np.pi, np.pi
    compare(
        _double(call(times, pieces, points)),
        torch.tensor(whole * (k + i / 9)),
        {
            "this is still half a period, with both ends: the sine repeats after 2π, and the end of a piece "
            "belongs to the next one.": torch.tensor(half * (k + i / 8)),
            "both ends are included: the end of each piece is fed again as the start of the next.": (
                torch.tensor(whole * (k + i / 8))
            ),
            "the seam is gone, but a piece is half a period: the sine repeats after 2π.": torch.tensor(
                half * (k + i / 9)
            ),
            "every piece starts at 0: time must go on, so piece k starts at 2πk.": torch.tensor(
                whole * (0 * k + i / 9)
            ),
            "every time is one step late: piece k starts at 2πk itself.": torch.tensor(
                whole * (k + (i + 1) / 9)
            ),
            "these are parts of periods, not times: multiply by 2π.": torch.tensor(k + i / 9),
            "the pieces leave gaps: piece k starts at 2πk.": torch.tensor(whole * (k * 9 + i / 9)),
        },
        name="the tensor of times",
    )


@exercise(
    "11.2",
    "x.flip(1) turns the time around. In which order do the states of backward come then?",
    "Turn its states back, so that both halves of out belong to the same step.",
    "The second result of a GRU is its last state, (1, batch, hidden): after everything it has read.",
)
def two_directions(both_ways):
    both = nn.GRU(3, 5, batch_first=True, bidirectional=True)
    forward, backward = (nn.GRU(3, 5, batch_first=True) for _ in range(2))
    weights = both.state_dict()
    forward.load_state_dict({k: v for k, v in weights.items() if "reverse" not in k})
    reverse = {k.removesuffix("_reverse"): v for k, v in weights.items() if "reverse" in k}
    backward.load_state_dict(reverse)
    x = torch.randn(4, 7, 3)
    with torch.no_grad():
        out, h = both(x)
        there, back = out.chunk(2, -1)
        straight = backward(x)[0]
        mixed, of_features = backward(x.flip(0))[0], backward(x.flip(2))[0]
        summary = torch.cat([h[0], h[1]], -1)
    given = call(both_ways, forward, backward, x)
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise Wrong("two tensors are asked for: out and summary.")
    compare(
        given[0],
        out,
        {
            "the states of backward are still in the order in which it has read: turn them around again, "
            "so that both halves belong to the same step.": torch.cat([there, back.flip(1)], -1),
            "backward has read from the beginning: turn the time of x around for it.": torch.cat(
                [there, straight], -1
            ),
            "backward has read from the beginning, and its states are turned around: turn x as well.": (
                torch.cat([there, straight.flip(1)], -1)
            ),
            "flip(0) turns the batch around: time is axis 1 here.": torch.cat([there, mixed], -1),
            "flip(2) turns the features around: time is axis 1.": torch.cat(
                [there, of_features], -1
            ),
            "the two halves are exchanged: that of forward comes first.": torch.cat(
                [back, there], -1
            ),
            "the two states are added up: they must stand side by side.": there + back,
            "the states stand one after the other in time: join them along the last axis.": torch.cat(
                [there, back], 1
            ),
        },
        name="out",
        atol=1e-5,
    )
    compare(
        given[1],
        summary,
        {
            "out[:, -1] holds backward after a single step: it reads from the end, so its last state is "
            "that at time 0.": out[:, -1],
            "out[:, 0] holds forward after a single step: its last state is that at the last time.": out[
                :, 0
            ],
            "each half is the state after a single step: forward ends at the last time, backward at "
            "time 0.": torch.cat([there[:, 0], back[:, -1]], -1),
            "the two halves of the summary are exchanged: that of forward comes first.": torch.cat(
                [h[1], h[0]], -1
            ),
            "this is the mean over the time: the two last states are asked for.": out.mean(1),
            "the two last states are stacked: they must stand side by side, (batch, 2 * hidden).": h,
            "the batches of the two states follow each other: join the states along the last axis.": (
                torch.cat([h[0], h[1]])
            ),
        },
        name="the summary",
        atol=1e-5,
    )


@exercise(
    "11.3",
    "Which axis of the state is the batch? fresh must be matched with that one.",
    "fresh[:, None] has the shape (batch, 1), and so does its opposite, ~fresh[:, None].",
    "Cut with detach(); for a pair do the same with both parts, and return a tuple.",
)
def at_the_border(next_state):
    # as many hidden units as series: who matches the wrong axes gets no error, but a diagnosis
    fresh, numbers = np.array([True, False, False, True, False]), np.random.default_rng(11)
    pair = numbers.normal(size=(2, 2, 5, 5)).astype(np.float32)
    h, c = (torch.tensor(part, requires_grad=True) * 1.0 for part in pair)

    def kept(part, where):
        return torch.tensor(np.where(where, part, np.float32(0)))

    def mistakes(parts, pack):
        return {
            "the series that go on are emptied, and the new ones keep a stranger's memory: it is the other "
            "way round.": pack([kept(p, fresh[:, None]) for p in parts]),
            "hidden units are emptied and not series: the batch is the axis in the middle.": pack(
                [kept(p, ~fresh) for p in parts]
            ),
            "the new series keep the memory of the old ones: empty it where fresh is True.": pack(
                [torch.tensor(p) for p in parts]
            ),
            "all series have lost their memory: empty only those where fresh is True.": pack(
                [torch.zeros(2, 5, 5) for _ in parts]
            ),
            "only the first layer is emptied: a new series has an empty state in all layers.": pack(
                [_first_layer(p, fresh, 0) for p in parts]
            ),
            "only the last layer is emptied: a new series has an empty state in all layers.": pack(
                [_first_layer(p, fresh, 1) for p in parts]
            ),
        }

    marks = torch.tensor(fresh)
    one = call(next_state, h, marks)
    right = kept(pair[0], ~fresh[:, None])
    compare(one, right, mistakes(pair[:1], lambda p: p[0]), name="the state of a GRU")
    _cut(one)
    two = call(next_state, (h, c), marks)
    if not isinstance(two, tuple):
        raise Wrong("for the pair (h, c) of an LSTM return a pair as well, a tuple.")
    both = tuple(kept(p, ~fresh[:, None]) for p in pair)
    special = {
        "h is right, but c is handed on as it was: a new series has an empty c too.": (
            both[0],
            torch.tensor(pair[1]),
        )
    }
    compare(two, both, mistakes(pair, tuple) | special, name="the state of an LSTM")
    for part in two:
        _cut(part)
    lone = torch.tensor([True, False, False])
    odd = torch.randn(1, 3, 4)
    compare(
        call(next_state, odd, lone),
        torch.stack([torch.zeros(4), odd[0, 1], odd[0, 2]])[None],
        name="the state of one layer with 3 series and 4 units",
    )


def _first_layer(part, fresh, layer):
    """Zeros for the new series in one layer only."""
    changed = part.copy()
    changed[layer, fresh] = 0
    return torch.tensor(changed)


def _cut(state):
    if state.requires_grad:
        raise Wrong("the gradient still flows over the border: cut it with detach().")


@exercise(
    "11.4",
    "Day number `day` has the weekday day % 7. What must happen first, the forecast or the update?",
    "Start with state = flow[:7].clone() and go through the days from number 7 on.",
    "In the loop: forecast[day] = state[day % 7], and then the new state[day % 7] from it and flow[day].",
)
def seven_numbers(smooth):
    flow, keep, days = torch.randint(100, 5000, (40, 3)).double(), 0.7, 40
    table = flow.numpy()

    def forecast(keep, lag=7, shift=0, first=1.0):
        """From all the earlier counts with their weights, newest first; no state is carried."""
        found = np.full_like(table, np.nan)
        for day in range(lag, days):
            past = table[day - lag + shift :: -lag] if shift else table[day - lag :: -lag]
            weights = (1 - keep) * keep ** np.arange(len(past))
            weights[-1] = keep ** (len(past) - 1) * first
            found[day] = weights @ past
        return torch.tensor(found)

    def begun(value):
        other = forecast(keep)
        other[:7] = value
        return other

    seen = forecast(keep, shift=7)
    right = forecast(keep)
    plain_mean = [[table[day % 7 : day : 7].mean(0)] for day in range(7, days)]
    compare(
        _double(call(smooth, flow, keep)),
        right,
        {
            "the forecast has seen the day that it forecasts: take it from the state before the update.": (
                seen
            ),
            "keep and 1 - keep are exchanged: `keep` belongs to the state.": forecast(1 - keep),
            "this is last week's count: the state must keep something of the weeks before.": forecast(
                0
            ),
            "the state is never updated: every forecast is the first week's count.": forecast(1),
            "there is one number for all days: each weekday has its own.": forecast(keep, lag=1),
            "only a part of the first week goes into the state: its seven days fill it as they are.": (
                forecast(keep, first=1 - keep)
            ),
            "the first seven days have no forecast: nan, not 0.": begun(0.0),
            "the first seven days have no forecast: nan, not their own count.": begun(flow[:7]),
            "this is the mean of all weeks so far: the newer ones count more.": torch.cat(
                [right[:7], torch.tensor(np.concatenate(plain_mean))]
            ),
            "the days are missing that have no forecast: give them rows of nan.": right[7:],
        },
        name="the forecast",
    )


@exercise(
    "11.5",
    "After one step σ(b) is left. And after two, three, `steps`?",
    "σ(b) to the power of `steps` must be share, so σ(b) = share ** (1 / steps).",
    "The inverse of σ is the logit, log(z / (1 - z)).",
)
def memory_of_a_gate(gate_bias):
    steps, share = torch.tensor([1.0, 3.0, 12.0, 150.0], dtype=torch.double), 0.3
    n = steps.numpy()
    z = np.exp(np.log(share) / n)

    def logit(p):
        with np.errstate(invalid="ignore", divide="ignore"):
            return torch.tensor(np.log(p) - np.log1p(-p))

    compare(
        _double(call(gate_bias, steps, share)),
        logit(z),
        {
            "this is the gate σ(b), and not its bias: go back through the sigmoid.": torch.tensor(
                z
            ),
            "the sign is wrong: such a gate forgets what it should keep.": -logit(z),
            "what is kept multiplies from step to step: take a root of share, not a quotient.": logit(
                share / n
            ),
            "the losses do not add up: each step loses a part of what is left.": logit(
                1 - (1 - share) / n
            ),
            "1 - share is what has been forgotten: share is left.": logit((1 - share) ** (1 / n)),
            "a power goes the wrong way: share ** steps gets smaller with the steps, and the gate must open.": (
                logit(share**n)
            ),
            "the gate has a sigmoid, and not a tanh.": torch.tensor(np.arctanh(z)),
            "this is the rule of thumb that b is the logarithm of the steps: share is not in it.": torch.tensor(
                np.log(n)
            ),
            "one step too few is counted: after one step σ(b) itself is left.": logit(
                np.exp(np.log(share) / np.maximum(n - 1, 1e-9))
            ),
            "one step too many is counted: after one step σ(b) itself is left.": logit(
                np.exp(np.log(share) / (n + 1))
            ),
        },
        name="the bias",
        rtol=1e-3,
    )


@exercise(
    "11.6",
    "Let one unit hold the present input; which weight hands that on to the other unit at the next step?",
    "Close to 0 the tanh is the identity: scale the input down by 100, and the output up by as much.",
    "weight_ih = [[0.01], [0]], weight_hh = [[0, 0], [1, 0]], all biases 0; the linear layer has the two factors of the formula.",
)
def programmed_cosine(follower):
    phases = np.linspace(0.1, 6.0, 5)[:, None]
    for d in (math.pi / 10, 0.7):
        times = phases + d * np.arange(25)
        x = torch.tensor(np.sin(times)).float()[..., None]
        pair = call(follower, d)
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise Wrong("two layers are asked for: the RNN and the linear one.")
        rnn, out = pair
        if type(rnn) is not nn.RNN or type(out) is not nn.Linear:
            raise Wrong("first an nn.RNN is asked for, and then an nn.Linear.")
        if (rnn.input_size, rnn.hidden_size, rnn.num_layers, out.out_features) != (1, 2, 1, 1):
            raise Wrong(
                "the RNN has one input, two hidden units and one layer; the linear layer one output."
            )
        if not rnn.batch_first or rnn.bidirectional or rnn.nonlinearity != "tanh":
            raise Wrong(
                "an nn.RNN(1, 2, batch_first=True) is asked for, in one direction and with its tanh."
            )
        with torch.no_grad():
            shown = call(rnn, x)[0]
            guess = call(out, shown)
        wanted = torch.tensor(np.cos(times)).float()[:, 1:, None]
        near = {"rtol": 0.0, "atol": 1e-3}
        if isinstance(guess, torch.Tensor) and same(guess[:, 1:], wanted, **near):
            continue
        biases = [p for n, p in (*rnn.named_parameters(), *out.named_parameters()) if "bias" in n]
        if any(b.detach().abs().max() > 0 for b in biases):
            raise Wrong(
                "some biases are not 0: all of them start at random, and the formula has none."
            )
        now, before = np.sin(times[:, 1:]), np.sin(times[:, :-1])

        def column(values):
            return torch.tensor(values).float()[..., None]

        two_back = np.concatenate([np.zeros((5, 1)), np.sin(times[:, :-2])], 1)
        old = math.pi / 10
        bent, twice = np.tanh(now), np.tanh(np.tanh(before))
        compare(
            guess[:, 1:],
            wanted,
            {
                "the tanh bends the numbers: make the input small, and the output as much larger.": column(
                    (bent * math.cos(d) - twice) / math.sin(d)
                ),
                "the output is as small as you have made the input: scale it up again in the linear layer.": (
                    wanted * rnn.weight_ih_l0.detach().abs().max()
                ),
                "the unit for the past stays at 0: let it read the other one, by weight_hh_l0[1, 0] if it is the second.": column(
                    now * math.cos(d) / math.sin(d)
                ),
                "the past is added: subtract it.": column(
                    (now * math.cos(d) + before) / math.sin(d)
                ),
                "the division by sin d is missing.": column(now * math.cos(d) - before),
                "cos d is missing: it belongs to the present input.": column(
                    (now - before) / math.sin(d)
                ),
                "the unit for the past reads the input too: its own weight in weight_ih_l0 must be 0.": column(
                    (now * math.cos(d) - now - before) / math.sin(d)
                ),
                "present and past are exchanged: cos d belongs to the unit that reads the input.": column(
                    (before * math.cos(d) - now) / math.sin(d)
                ),
                "the weights are those of d = π/10, whatever d is asked for.": column(
                    (now * math.cos(old) - before) / math.sin(old)
                ),
                "the past is two steps old: one is enough.": column(
                    (now * math.cos(d) - two_back) / math.sin(d)
                ),
            },
            name="the cosine from the second point on",
            **near,
        )
