"""Examinations of the exercises of chapter 12, LSTM: forecasting the metro."""

import math

import numpy as np
import torch
from torch import nn

from utils.checks.engine import Wrong, call, compare, exercise


@exercise(
    "12.1",
    "out is the last layer at all steps; h is all layers at the last step. Which axes does batch_first swap?",
    "A layer has four blocks, each with an input matrix, a hidden matrix and two biases.",
    "The first layer has 6 inputs, the other two have 16, the hidden states of the layer below.",
)
def on_paper(out_shape, h_shape, parameters):
    compare(
        out_shape,
        (8, 21, 16),
        {
            "with batch_first=True the batch comes first in out, as in x.": (21, 8, 16),
            "out holds hidden states, 16 numbers each, and not the 6 features.": (8, 21, 6),
            "out holds the last layer at all time steps, not only at the last one.": (8, 16),
            "out holds the last layer only: the three layers are not set side by side.": (
                8,
                21,
                48,
            ),
            "out holds the last layer only: it has no axis for the layers.": (3, 8, 21, 16),
        },
        name="the shape of out",
    )
    compare(
        h_shape,
        (3, 8, 16),
        {
            "batch_first swaps the axes of x and out, and of nothing else: in h the layers come first.": (
                8,
                3,
                16,
            ),
            "h holds all layers, not only the last one.": (1, 8, 16),
            "h holds all layers, so it has an axis for them.": (8, 16),
            "that is the shape of out; h holds all layers at the last step.": (8, 21, 16),
            "h holds the last time step only: it has no axis for time.": (3, 8, 21, 16),
        },
        name="the shape of h",
    )
    compare(
        parameters,
        5888,
        {
            "each block has two biases in PyTorch, one with W and one with U.": 5696,
            "the biases are missing: two in each block.": 5504,
            "this is the first layer alone.": 1536,
            "from the second layer on a layer reads 16 hidden states and not 6 features.": 4608,
            "the first layer reads 6 features and not 16.": 6528,
            "there are four blocks: three gates and the candidate.": 4416,
            "this is one block of each layer, and there are four.": 1472,
        },
        name="the number of parameters",
    )


def _shown_states(x, W, R, B, order="iofg", order_r=None, order_b=None, biases=2):
    """Hidden states (time, batch, hidden) of an LSTM with blocks in the given order."""
    hidden = R.shape[1]

    def blocks(stacked, names):
        return dict(zip(names, stacked.split(hidden), strict=True))

    w, r = blocks(W, order), blocks(R, order_r or order)
    b = blocks(sum(B.split(4 * hidden)[:biases]), order_b or order)
    h = c = torch.zeros(x.shape[1], hidden)
    shown = []
    for x_t in x:
        z = {k: x_t @ w[k].T + h @ r[k].T + b[k] for k in "iofg"}
        c = c / (1 + (-z["f"]).exp()) + torch.tanh(z["g"]) / (1 + (-z["i"]).exp())
        h = torch.tanh(c) / (1 + (-z["o"]).exp())
        shown.append(h)
    return torch.stack(shown)


@exercise(
    "12.2",
    "chunk(4) cuts a matrix into its four blocks of rows; torch.cat puts them together in another order.",
    "The rows of W, of R and of both halves of B must be put in order in the same way.",
    "i, o, f, g = W.chunk(4), then torch.cat([i, f, g, o]); set lstm.weight_ih_l0 to an nn.Parameter of it.",
)
def blocks_in_order(from_onnx):
    W, R, B, x = torch.randn(20, 3), torch.randn(20, 5), torch.randn(40), torch.randn(7, 2, 3)
    lstm = call(from_onnx, W, R, B)
    if not isinstance(lstm, nn.LSTM):
        raise Wrong("an nn.LSTM is asked for, as the value that the function returns.")
    if (lstm.input_size, lstm.hidden_size, lstm.num_layers) != (3, 5, 1):
        raise Wrong(
            "the LSTM has the wrong sizes: W has one column for each input, R one for each hidden state, "
            "and there is one layer."
        )
    if lstm.batch_first or lstm.bidirectional:
        raise Wrong("an LSTM in one direction and without batch_first is asked for.")
    given = call(lstm, x)
    shown = given[0] if isinstance(given, tuple) else given
    compare(
        shown,
        _shown_states(x, W, R, B),
        {
            "the blocks are still in the order i, o, f, g, and PyTorch reads them as i, f, g, o.": (
                _shown_states(x, W, R, B, "ifgo")
            ),
            "the blocks have moved the wrong way: out of i, o, f, g comes i, f, g, o.": _shown_states(
                x, W, R, B, "igof"
            ),
            "f and o are exchanged, and g must move too: the new order is i, f, g, o.": _shown_states(
                x, W, R, B, "igfo"
            ),
            "the blocks of the biases are still in the order i, o, f, g.": _shown_states(
                x, W, R, B, order_b="ifgo"
            ),
            "the blocks of R are still in the order i, o, f, g.": _shown_states(
                x, W, R, B, order_r="ifgo"
            ),
            "only W is in order: the blocks of R and of the biases must move too.": _shown_states(
                x, W, R, B, order_r="ifgo", order_b="ifgo"
            ),
            "the second half of B, the biases that go with R, is missing.": _shown_states(
                x, W, R, B, biases=1
            ),
        },
        name="out",
        rtol=1e-3,
        atol=1e-5,
    )


@exercise(
    "12.3",
    "Which of out, h and c holds the states after the third day, when the series goes on?",
    "out[k, t] is the last layer of series k after day t + 1.",
    "Pick one day a series: out[torch.arange(batch), lengths - 1].",
)
def unequal_lengths(last_states):
    torch.manual_seed(3)
    lstm = nn.LSTM(2, 5, num_layers=3, batch_first=True)
    lengths = torch.tensor([5, 2, 8, 3])
    x = torch.randn(4, 9, 2) * (torch.arange(9) < lengths[:, None])[..., None]
    with torch.no_grad():
        alone = [lstm(x[k : k + 1, : lengths[k]]) for k in range(4)]
        out, (h, c) = lstm(x)
        right = torch.cat([h_alone[-1] for _, (h_alone, _) in alone])
        after, before = (torch.stack([out[k, lengths[k] + d] for k in range(4)]) for d in (0, -2))
    compare(
        call(last_states, lstm, x, lengths),
        right,
        {
            "h[:, -1] is all layers of the last series: h has the shape (layers, batch, hidden).": h[
                :, -1
            ],
            "these are the states after all steps, those on the zeros included: stop at the last real day.": h[
                -1
            ],
            "this is one day too late: day number 1 is at position 0, so the last one is at lengths - 1.": after,
            "this is one day too early: the last real day is at lengths - 1.": before,
            "this is the first layer, and after all steps: the last layer is in out.": h[0],
            "this is the first layer: the last one is asked for.": torch.cat(
                [h_alone[0] for _, (h_alone, _) in alone]
            ),
            "this is the cell state: the hidden state is asked for.": torch.cat(
                [c_alone[-1] for _, (_, c_alone) in alone]
            ),
            "this is the cell state, and after all steps: take out, which is the hidden state.": c[
                -1
            ],
            "these are all layers at once: the last one is asked for.": torch.cat(
                [h_alone for _, (h_alone, _) in alone], 1
            ),
            "these are all days: pick the last real one of each series.": out,
        },
        name="the tensor of states",
        atol=1e-5,
    )


@exercise(
    "12.4",
    "For one target day write down the numbers of the first and the last day of the past.",
    "The newest known day is day - horizon, and the window has window days: it begins at day - horizon - window + 1.",
    "rows = day[:, None] - horizon + torch.arange(1 - window, 1) holds the row numbers, (n, window).",
)
def honest_inputs(inputs_for):
    residual, calendar = torch.randn(40, 3), torch.randn(40, 4)
    day, window, horizon = torch.tensor([20, 39, 11, 27, 25]), 6, 3

    def past(last):
        return torch.stack([residual[d + last - window + 1 : d + last + 1] for d in day.tolist()])

    given = call(inputs_for, day, residual, calendar, window, horizon)
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise Wrong("two tensors are asked for: the past and the row of the calendar.")
    compare(
        given[0],
        past(-horizon),
        {
            "the past holds the target day itself: the network would copy the answer.": past(0),
            "the past ends on the day before the target, which is not known yet when the forecast is made: "
            "stop at day - horizon.": past(-1),
            "the past ends a day too late: on day - horizon the next day is not known.": past(
                1 - horizon
            ),
            "the newest known day is missing: on the evening of day - horizon that day is known.": past(
                -horizon - 1
            ),
            "the past is in the wrong order: oldest first.": past(-horizon).flip(1),
            "the past begins at day - horizon, and goes on into the future: it must end there.": torch.stack(
                [residual[d - horizon : d - horizon + window] for d in [20, 33, 11, 27, 25]]
            ),
            "the axes are (stations, window): (window, stations) is asked for.": past(-horizon).mT,
        },
        name="the past",
    )
    compare(
        given[1],
        calendar[day],
        {
            "this is the calendar of the day of the forecast, but the target day's is known too, and it is "
            "the one that counts.": calendar[day - horizon],
            "this is the calendar of the day before the target.": calendar[day - 1],
            "this is the calendar of the window: one row, that of the target day, is asked for.": torch.stack(
                [calendar[d - horizon - window + 1 : d - horizon + 1] for d in day.tolist()]
            ),
        },
        name="the row of the calendar",
    )


def _by_days(flow, lags, reduce=np.median, before=np.nan):
    """Forecast each day from the days that lie `lags` before it; `before` stands where one is missing."""
    table = flow.numpy()
    padded = np.concatenate([np.full((max(lags), table.shape[1]), before), table])
    rows = np.arange(len(table)) + max(lags)
    return torch.tensor(reduce(np.stack([padded[rows - lag] for lag in lags]), axis=0))


def _median_of_known(stacked, axis):
    return torch.tensor(stacked).nanmedian(axis).values.numpy()


@exercise(
    "12.5",
    "How old is the newest day of the same weekday that is known 8 days ahead: 7, 8 or 14 days?",
    "The lags are whole weeks: the first is horizon rounded up to weeks, math.ceil(horizon / 7).",
    "Stack the shifted tables, nan at their beginning, and take .median(dim=0).values.",
)
def same_weekday(usual_day):
    flow = torch.randint(100, 5000, (75, 3)).double()
    flow[::7] += 3000
    for horizon, first, ignored in ((1, 7, 1), (7, 7, 7), (10, 14, 10)):
        lags = [first, first + 7, first + 14]
        right = _by_days(flow, lags)
        compare(
            call(usual_day, flow, 3, horizon),
            right,
            {
                "the forecast uses days that are not known yet: 10 days ahead the newest day of the same "
                "weekday is 14 days old.": _by_days(flow, [7, 14, 21]),
                "the forecast holds the day that it forecasts: begin a week before.": _by_days(
                    flow, [0, 7, 14]
                ),
                f"with horizon {horizon} newer days are known: the first one is {first} days old.": (
                    _by_days(flow, [first + 7, first + 14, first + 21])
                ),
                "these are days of another weekday: round the horizon up to whole weeks.": _by_days(
                    flow, [ignored, ignored + 7, ignored + 14]
                ),
                "these are the last days one after the other: go back in whole weeks.": _by_days(
                    flow, [ignored, ignored + 1, ignored + 2]
                ),
                "this is the mean: a single holiday moves it, so take the median.": _by_days(
                    flow, lags, np.mean
                ),
                "this is one week more than asked for.": _by_days(flow, [*lags, first + 21]),
                "this is one week alone: take the median of the newest ones.": _by_days(
                    flow, lags[:1]
                ),
                "the first days must be nan: there are not enough weeks behind them, and 0 is no count.": (
                    _by_days(flow, lags, before=0.0)
                ),
                "the first days must be nan: a median of fewer weeks than asked for is not wanted.": (
                    _by_days(flow, lags, _median_of_known)
                ),
                "the first days are wrong: roll() brings the last days of all to the beginning, so put nan "
                "there.": torch.stack([flow.roll(lag, 0) for lag in lags]).median(0).values,
            },
            name=f"the forecast with horizon {horizon}",
        )


@exercise(
    "12.6",
    "The interval reaches to both sides, so the sign of an error does not matter.",
    "Sort the absolute errors of each station along the days; the k-th smallest is at position k - 1.",
    "k = math.ceil((n + 1) * level), and inf if k > n.",
)
def conformal(interval_width):
    level, errors = 0.9, torch.randn(24, 4) * torch.tensor([1.0, 5.0, 0.2, 30.0]) + 0.3
    ranked = np.sort(np.abs(errors.numpy()), axis=0)
    ranked_by_sign = np.sort(errors.numpy(), axis=0)
    overall = np.sort(np.abs(errors.numpy()).ravel())
    compare(
        call(interval_width, errors, level),
        torch.tensor(ranked[22]),
        {
            "the sign of the errors still counts: take their absolute values.": torch.tensor(
                ranked_by_sign[22]
            ),
            "this is the plain quantile, as in the chapter: take the k-th smallest with k from n + 1.": (
                torch.tensor(np.quantile(ranked, level, axis=0)).float()
            ),
            "this is the k-th smallest with k from n and not from n + 1: with few days it covers too "
            "little.": torch.tensor(ranked[21]),
            "k - 1 is the position of the k-th smallest: yours is one too far.": torch.tensor(
                ranked[23]
            ),
            "the errors of all stations are in one heap: each station has its own width.": torch.full(
                (4,), float(overall[math.ceil(97 * level) - 1])
            ),
            "this trusts the bell curve: take the errors themselves.": 1.6449 * errors.std(0),
            "this trusts the bell curve, and the root of the mean square: take the errors themselves.": (
                1.6449 * errors.square().mean(0).sqrt()
            ),
            "this is the whole length of the interval: half of it goes to each side.": 2
            * torch.tensor(ranked[22]),
        },
        name="the tensor of widths",
    )
    few = errors[:5]
    compare(
        call(interval_width, few, level),
        torch.full((4,), math.inf),
        {
            "five days cannot promise 90 %, not even with their largest error: the width is inf.": few.abs()
            .max(0)
            .values
        },
        name="the tensor of widths from five days",
    )
    compare(
        call(interval_width, errors[:11], 0.5),
        torch.tensor(np.sort(np.abs(errors.numpy()[:11]), axis=0)[5]),
        name="the tensor of widths for level 0.5 from 11 days",
    )


def _shown(lstm, *steps):
    """Hidden state of a programmed LSTM after each step (value, write)."""
    given = call(lstm, torch.tensor([steps], dtype=torch.float32))
    shown = given[0] if isinstance(given, tuple) else given
    if not isinstance(shown, torch.Tensor) or shown.device.type == "meta":
        raise Wrong("the LSTM gives no hidden states: leave its forward as it is.")
    shown = shown.detach().flatten().double()
    if not shown.isfinite().all():
        raise Wrong("the hidden states are no numbers: some weights are nan or inf.")
    return shown


@exercise(
    "12.7",
    "The cell state is c = f · c + i · g. What must f and i be when write is 1, and what when it is 0?",
    "A gate that is nearly 1 or 0 needs an argument such as 10 or -10: a bias, and a weight for write.",
    "With the rows i, f, g, o: i = σ(20·write - 10), f = σ(10 - 20·write), g = tanh(3·value), o = σ(10).",
)
def programmed(memory):
    lstm = call(memory)
    if not isinstance(lstm, nn.LSTM):
        raise Wrong("an nn.LSTM is asked for, as the value that the function returns.")
    sizes = lstm.input_size, lstm.hidden_size, lstm.num_layers, lstm.batch_first, lstm.bidirectional
    if sizes != (2, 1, 1, True, False):
        raise Wrong("the LSTM must be nn.LSTM(2, 1, batch_first=True).")

    def run(*steps):
        return _shown(lstm, *steps)

    noise = [(value, 0.0) for value in (2 * torch.rand(200) - 1).sign().tolist()]
    silence = [(0.0, 0.0)] * 200
    if run(*silence).abs().max() > 0.1:
        raise Wrong(
            "h is not near 0 although nothing came in: do the candidate and the hidden weights have no bias?"
        )
    up, down = run((1.0, 1.0))[0], run((-1.0, 1.0))[0]
    if up < -0.5 and down > 0.5:
        raise Wrong("h has the wrong sign: the weight of value in the candidate must be positive.")
    if not (up > 0.5 and down < -0.5):
        raise Wrong(
            "right after a write h does not show the value: with write = 1 the input gate and the output gate "
            "must be open, and the candidate near ±1 (the order is i, f, g, o)."
        )
    for value in (1.0, -1.0):
        _keeps(run, value, silence)
    if run(*noise).abs().max() > 0.1:
        raise Wrong(
            "values that were not written change h: the input gate must be shut while write is 0."
        )
    for value in (1.0, -1.0):
        _holds_against(run, value, noise)


def _keeps(run, value, silence):
    """Nothing comes in for 200 steps."""
    after = value * run((value, 1.0), *silence)
    if not after[-1] > 0.5:
        raise Wrong(
            "after 200 quiet steps the value has faded: the forget gate must be much nearer to 1 while "
            "write is 0."
        )
    if not after.min() > 0.5:
        raise Wrong("h does not stay where it was written, though nothing came in.")


def _holds_against(run, value, noise):
    """Values that are not written, and others that are."""
    for unwritten in (noise, [(-value, 0.0)] * 200):
        if not (value * run((value, 1.0), *unwritten)).min() > 0.5:
            raise Wrong(
                "values that were not written wear the memory down: the input gate must be shut more "
                "firmly while write is 0."
            )
    again = value * run(*[(value, 1.0)] * 5, (-value, 1.0))
    if not again[-1] < -0.5:
        raise Wrong(
            "a new value is added to the old ones and does not replace them: the forget gate must be shut "
            "while write is 1."
        )
    if not again[:5].min() > 0.5:
        raise Wrong("writing the same value again must leave h where it is.")
