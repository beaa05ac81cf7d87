"""Typical wrong answers to the exercises of chapter 12: (code, part of the diagnosis)."""

_ONNX = """
def from_onnx(W, R, B):
    def moved(t):
        i, o, f, g = t.chunk(4)
        return torch.cat([i, f, g, o])

    lstm = nn.LSTM(W.shape[1], R.shape[1])
    names = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    first, second = B.chunk(2)
    values = [moved(W), moved(R), moved(first), moved(second)]
    lstm.load_state_dict(dict(zip(names, values)))
    return lstm
"""

_LAST = """
def last_states(lstm, x, lengths):
    out, (h, c) = lstm(x)
    return torch.stack([out[k, n - 1] for k, n in enumerate(lengths)])
"""

_INPUTS = """
def inputs_for(day, residual, calendar, window, horizon):
    past = torch.stack([residual[d - horizon - window + 1 : d - horizon + 1] for d in day.tolist()])
    return past, calendar[day]
"""

_USUAL = """
def usual_day(flow, weeks, horizon):
    first = -(-horizon // 7) * 7
    shifted = []
    for k in range(weeks):
        table = flow.roll(first + 7 * k, 0)
        table[: first + 7 * k] = float("nan")
        shifted.append(table)
    return torch.stack(shifted).median(0).values
"""

_WIDTH = """
def interval_width(errors, level):
    n = len(errors)
    k = math.ceil((n + 1) * level)
    if k > n:
        return torch.full((errors.shape[1],), math.inf)
    return errors.abs().kthvalue(k, dim=0).values
"""

_MEMORY = """
def memory():
    lstm = nn.LSTM(2, 1, batch_first=True)
    with torch.no_grad():
        for p in lstm.parameters():
            p.zero_()
        lstm.weight_ih_l0 += torch.tensor([[0, 30], [0, -30], [4, 0], [0, 0]])
        lstm.bias_ih_l0 += torch.tensor([-15, 15, 0, 15])
    return lstm
"""


def _but(source, *changes):
    """A right answer with a mistake in it."""
    for old, new in changes:
        assert old in source, old
        source = source.replace(old, new)
    return source


def _paper(out="(8, 21, 16)", h="(3, 8, 16)", count="5888"):
    return f"out_shape, h_shape, parameters = {out}, {h}, {count}"


WRONG = {
    "12.1": [
        (_paper(out="(21, 8, 16)"), "the batch comes first in out"),
        (_paper(out="(8, 21, 6)"), "not the 6 features"),
        (_paper(out="(8, 16)"), "at all time steps"),
        (_paper(out="(8, 21, 48)"), "not set side by side"),
        (_paper(out="8 * 21 * 16"), "the shape of out is an int"),
        (_paper(h="(8, 3, 16)"), "in h the layers come first"),
        (_paper(h="(1, 8, 16)"), "h holds all layers, not only the last one"),
        (_paper(h="(8, 16)"), "it has an axis for them"),
        (_paper(h="(8, 21, 16)"), "that is the shape of out"),
        (_paper(count="5696"), "two biases"),
        (_paper(count="5504"), "the biases are missing"),
        (_paper(count="1536"), "the first layer alone"),
        (_paper(count="4608"), "from the second layer on"),
        (_paper(count="6528"), "the first layer reads 6"),
        (_paper(count="4416"), "there are four blocks"),
    ],
    "12.2": [
        (
            _but(_ONNX, ("i, o, f, g = t", "i, f, g, o = t")),
            "are still in the order i, o, f, g, and",
        ),
        (_but(_ONNX, ("[i, f, g, o]", "[i, f, o, g]")), "f and o are exchanged"),
        (_but(_ONNX, ("[i, f, g, o]", "[i, g, o, f]")), "moved the wrong way"),
        (
            _but(_ONNX, ("moved(first), moved(second)", "first, second")),
            "the blocks of the biases are still",
        ),
        (_but(_ONNX, ("moved(R)", "R")), "the blocks of R are still"),
        (
            _but(_ONNX, ("moved(R), moved(first), moved(second)", "R, first, second")),
            "only W is in order",
        ),
        (_but(_ONNX, ("moved(second)", "0 * second")), "the second half of B"),
        (
            _but(_ONNX, ("W.shape[1], R.shape[1]", "len(W), len(R)")),
            "RuntimeError: Error(s) in loading",
        ),
        (
            _but(_ONNX, ("    lstm.load_state_dict(dict(zip(names, values)))\n", "")),
            "values are wrong",
        ),
        (
            _but(_ONNX, ("R.shape[1])", "R.shape[1], batch_first=True)")),
            "without batch_first is asked for",
        ),
    ],
    "12.3": [
        (
            "def last_states(lstm, x, lengths):\n    out, (h, c) = lstm(x)\n    return h[:, -1]",
            "all layers of the last series",
        ),
        (
            "def last_states(lstm, x, lengths):\n    out, (h, c) = lstm(x)\n    return out[:, -1]",
            "those on the zeros included",
        ),
        (_but(_LAST, ("n - 1", "n")), "one day too late"),
        (_but(_LAST, ("n - 1", "n - 2")), "one day too early"),
        (
            "def last_states(lstm, x, lengths):\n    out, (h, c) = lstm(x)\n    return h[0]",
            "the first layer, and after all steps",
        ),
        (
            "def last_states(lstm, x, lengths):\n    runs = [lstm(s[:n]) for s, n in zip(x, lengths)]\n"
            "    return torch.stack([c[-1] for _, (h, c) in runs])",
            "this is the cell state: the hidden",
        ),
        (
            "def last_states(lstm, x, lengths):\n    packed = nn.utils.rnn.pack_padded_sequence(\n"
            "        x, lengths, batch_first=True, enforce_sorted=False)\n    return lstm(packed)[1][0]",
            "these are all layers at once",
        ),
        (
            "def last_states(lstm, x, lengths): return lstm(x)[0][:, lengths - 1]",
            "has the shape (4, 4, 5) instead of (4, 5)",
        ),
        ("def last_states(lstm, x, lengths): return lstm(x)[0]", "these are all days"),
    ],
    "12.4": [
        (
            _but(_INPUTS, ("d - horizon - window + 1 : d - horizon + 1", "d - window + 1 : d + 1")),
            "the target day itself",
        ),
        (
            _but(_INPUTS, ("d - horizon - window + 1 : d - horizon + 1", "d - window : d")),
            "the day before the target, which",
        ),
        (
            _but(
                _INPUTS,
                (
                    "d - horizon - window + 1 : d - horizon + 1",
                    "d - horizon - window + 2 : d - horizon + 2",
                ),
            ),
            "a day too late",
        ),
        (
            _but(
                _INPUTS,
                (
                    "d - horizon - window + 1 : d - horizon + 1",
                    "d - horizon - window : d - horizon",
                ),
            ),
            "the newest known day is missing",
        ),
        (_but(_INPUTS, ("return past,", "return past.flip(1),")), "in the wrong order"),
        (_but(_INPUTS, ("return past,", "return past.mT,")), "the axes are (stations, window)"),
        (
            _but(_INPUTS, ("calendar[day]", "calendar[day - horizon]")),
            "the calendar of the day of the forecast",
        ),
        (_but(_INPUTS, ("calendar[day]", "calendar[day - 1]")), "of the day before the target"),
        (
            _but(
                _INPUTS,
                (
                    "calendar[day]",
                    "torch.stack([calendar[d - horizon - window + 1 : d - horizon + 1] for d in day])",
                ),
            ),
            "one row, that of the target day",
        ),
        (_but(_INPUTS, ("return past, calendar[day]", "return past")), "two tensors are asked for"),
    ],
    "12.5": [
        (_but(_USUAL, ("-(-horizon // 7) * 7", "7")), "days that are not known yet"),
        (_but(_USUAL, ("-(-horizon // 7) * 7", "horizon // 7 * 7")), "the day that it forecasts"),
        (
            _but(_USUAL, ("-(-horizon // 7) * 7", "horizon // 7 * 7 + 7")),
            "with horizon 7 newer days",
        ),
        (_but(_USUAL, ("-(-horizon // 7) * 7", "horizon")), "of another weekday"),
        (_but(_USUAL, ("-(-horizon // 7) * 7", "horizon"), ("7 * k", "k")), "one after the other"),
        (_but(_USUAL, (".median(0).values", ".mean(0)")), "this is the mean"),
        (_but(_USUAL, ("median(0).values", "nanmedian(0).values")), "a median of fewer weeks"),
        (_but(_USUAL, ("torch.stack(shifted)", "torch.stack(shifted[:1])")), "one week alone"),
        (_but(_USUAL, ('float("nan")', "0.0")), "0 is no count"),
        (
            _but(_USUAL, ('        table[: first + 7 * k] = float("nan")\n', "")),
            "roll() brings the last days",
        ),
        (
            _but(_USUAL, ("table = flow.roll(first + 7 * k, 0)", "table = flow")),
            "changes the inputs",
        ),
    ],
    "12.6": [
        (_but(_WIDTH, ("errors.abs()", "errors")), "the sign of the errors"),
        (
            "def interval_width(errors, level): return errors.abs().quantile(level, dim=0)",
            "the plain quantile",
        ),
        (_but(_WIDTH, ("(n + 1) * level", "n * level")), "with k from n and not"),
        (
            _but(
                _WIDTH, ("errors.abs().kthvalue(k, dim=0).values", "errors.abs().sort(0).values[k]")
            ),
            "one too far",
        ),
        (
            _but(
                _WIDTH,
                (
                    "n = len(errors)",
                    "errors = errors.reshape(-1, 1).expand(-1, errors.shape[1])\n    n = len(errors)",
                ),
            ),
            "in one heap",
        ),
        (
            "def interval_width(errors, level): return 1.6449 * errors.std(0)",
            "trusts the bell curve: take",
        ),
        (
            _but(_WIDTH, ("if k > n", "if k > 1000"), ("kthvalue(k,", "kthvalue(min(k, n),")),
            "five days cannot promise",
        ),
        (_but(_WIDTH, ("return errors.abs()", "return 2 * errors.abs()")), "the whole length"),
        (_but(_WIDTH, ("dim=0", "dim=1")), "your code raises"),
    ],
    "12.7": [
        (_but(_MEMORY, ("[4, 0]", "[-4, 0]")), "h has the wrong sign"),
        (_but(_MEMORY, ("[-15, 15, 0, 15]", "[15, -15, 5, 15]")), "not near 0 although"),
        (
            _but(_MEMORY, ("[-15, 15, 0, 15]", "[-15, 15, 0, -15]")),
            "right after a write h does not show",
        ),
        (_but(_MEMORY, ("[-15, 15, 0, 15]", "[-15, 2, 0, 15]")), "the value has faded"),
        (
            _but(_MEMORY, ("[-15, 15, 0, 15]", "[15, 15, 0, 15]")),
            "values that were not written change h",
        ),
        (_but(_MEMORY, ("[-15, 15, 0, 15]", "[-6.0, 15, 0, 15]")), "wear the memory down"),
        (_but(_MEMORY, ("[0, -30]", "[0, 0]")), "added to the old ones"),
        (
            _but(_MEMORY, ("nn.LSTM(2, 1, batch_first=True)", "nn.LSTM(2, 1)")),
            "must be nn.LSTM(2, 1, batch_first=True)",
        ),
        (
            _but(_MEMORY, ("    return lstm\n", "    return lstm.weight_ih_l0.detach()\n")),
            "an nn.LSTM is asked for",
        ),
        (
            _but(_MEMORY, ("lstm.bias_ih_l0 += ", "lstm.bias_ih_l0 += float('nan') * ")),
            "are no numbers",
        ),
    ],
}
