"""Typical wrong answers to the exercises of chapter 11: (code, part of the diagnosis)."""

_BOTH = """
def both_ways(forward, backward, x):
    there, one = forward(x)
    back, two = backward(x.flip(1))
    back = back.flip(1)
    out = torch.cat([there, back], -1)
    summary = torch.cat([one[0], two[0]], -1)
    return out, summary
"""

_BORDER = """
def next_state(state, fresh):
    if isinstance(state, tuple):
        return tuple(next_state(part, fresh) for part in state)
    state = state.detach().clone()
    state[:, fresh] = 0
    return state
"""

_SMOOTH = """
def smooth(flow, keep):
    forecast = flow * float("nan")
    state = flow[:7].clone()
    for day in range(7, len(flow)):
        forecast[day] = state[day % 7]
        state[day % 7] = keep * state[day % 7] + (1 - keep) * flow[day]
    return forecast
"""

_FOLLOWER = """
def follower(d, small=0.01):
    rnn, out = nn.RNN(1, 2, batch_first=True), nn.Linear(2, 1)
    for parameter in [*rnn.parameters(), *out.parameters()]:
        nn.init.zeros_(parameter)
    rnn.weight_ih_l0.data = torch.tensor([[small], [0.0]])
    rnn.weight_hh_l0.data = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    out.weight.data = torch.tensor([[math.cos(d), -1.0]]) / math.sin(d) / small
    return rnn, out
"""


def _but(source, *changes):
    """A right answer with a mistake in it."""
    for old, new in changes:
        assert old in source, old
        source = source.replace(old, new)
    return source


def _times(formula):
    return f"def times(pieces, points):\n    k, i = pieces[:, None], torch.arange(points)\n    return {formula}"


def _bias(formula):
    return f"def gate_bias(steps, share): return {formula}"


WRONG = {
    "11.1": [
        (_times("math.pi * (k + i / (points - 1))"), "half a period, with both ends"),
        (_times("2 * math.pi * (k + i / (points - 1))"), "both ends are included"),
        (_times("math.pi * (k + i / points)"), "but a piece is half a period"),
        (_times("2 * math.pi * i / points + 0 * k"), "every piece starts at 0"),
        (_times("2 * math.pi * (k + (i + 1) / points)"), "one step late"),
        (_times("k + i / points"), "multiply by 2π"),
        (_times("2 * math.pi * (k * points + i / points)"), "leave gaps"),
        (_times("(2 * math.pi * (k + i / points)).T"), "transposed"),
        (
            "def times(pieces, points):\n    k = pieces * 2 * math.pi\n"
            "    return torch.linspace(k, k + 2 * math.pi, points + 1)[:-1]",
            "your code raises",
        ),
    ],
    "11.2": [
        (_but(_BOTH, ("    back = back.flip(1)\n", "")), "in the order in which it has read"),
        (
            _but(_BOTH, ("    back = back.flip(1)\n", ""), ("x.flip(1)", "x")),
            "backward has read from the beginning: turn",
        ),
        (_but(_BOTH, ("x.flip(1)", "x")), "and its states are turned around: turn x as well"),
        (
            _but(_BOTH, ("    back = back.flip(1)\n", ""), ("x.flip(1)", "x.flip(0)")),
            "turns the batch around: time",
        ),
        (
            _but(_BOTH, ("    back = back.flip(1)\n", ""), ("x.flip(1)", "x.flip(-1)")),
            "turns the features around",
        ),
        (_but(_BOTH, ("[there, back], -1", "[back, there], -1")), "the two halves are exchanged"),
        (_but(_BOTH, ("torch.cat([there, back], -1)", "there + back")), "are added up"),
        (_but(_BOTH, ("[there, back], -1", "[there, back], 1")), "one after the other in time"),
        (
            _but(_BOTH, ("torch.cat([one[0], two[0]], -1)", "out[:, -1]")),
            "out[:, -1] holds backward after a single step",
        ),
        (
            _but(_BOTH, ("torch.cat([one[0], two[0]], -1)", "out[:, 0]")),
            "out[:, 0] holds forward after a single step",
        ),
        (
            _but(_BOTH, ("[one[0], two[0]]", "[there[:, 0], back[:, -1]]")),
            "each half is the state after a single step",
        ),
        (_but(_BOTH, ("[one[0], two[0]]", "[two[0], one[0]]")), "halves of the summary"),
        (_but(_BOTH, ("torch.cat([one[0], two[0]], -1)", "out.mean(1)")), "the mean over the time"),
        (_but(_BOTH, ("[one[0], two[0]], -1", "[one, two]")), "the two last states are stacked"),
        (_but(_BOTH, ("[one[0], two[0]], -1", "[one[0], two[0]]")), "the batches of the two"),
        (_but(_BOTH, ("return out, summary", "return out")), "two tensors are asked for"),
    ],
    "11.3": [
        (_but(_BORDER, ("[:, fresh]", "[:, ~fresh]")), "the other way round"),
        (_but(_BORDER, ("[:, fresh]", "[..., fresh]")), "hidden units are emptied"),
        (_but(_BORDER, ("    state[:, fresh] = 0\n", "")), "keep the memory of the old ones"),
        (
            _but(
                _BORDER,
                ("state.detach()", "(state if fresh.any() else state.detach())"),
                ("    state[:, fresh] = 0", "    state = state * ~fresh[:, None]"),
            ),
            "the gradient still flows over the border",
        ),
        (
            _but(
                _BORDER,
                (
                    "tuple(next_state(part, fresh) for part in state)",
                    "[next_state(part, fresh) for part in state]",
                ),
            ),
            "return a pair as well, a tuple",
        ),
        (
            _but(
                _BORDER,
                (
                    "tuple(next_state(part, fresh) for part in state)",
                    "(next_state(state[0], fresh), state[1].detach())",
                ),
            ),
            "c is handed on as it was",
        ),
        (_but(_BORDER, ("[:, fresh]", "[:]")), "all series have lost their memory"),
        (_but(_BORDER, ("[:, fresh]", "[0, fresh]")), "only the first layer is emptied"),
        (_but(_BORDER, ("[:, fresh]", "[-1, fresh]")), "only the last layer is emptied"),
        (_but(_BORDER, (".detach().clone()", ".data")), "changes the inputs"),
        (_but(_BORDER, ("[:, fresh]", "[fresh]")), "your code raises IndexError"),
        (
            "def next_state(state, fresh): return state.detach() * ~fresh[:, None]",
            "your code raises",
        ),
    ],
    "11.4": [
        (
            _but(
                _SMOOTH,
                ("        forecast[day] = state[day % 7]\n", ""),
                ("* flow[day]\n", "* flow[day]\n        forecast[day] = state[day % 7]\n"),
            ),
            "has seen the day that it forecasts",
        ),
        (
            _but(
                _SMOOTH,
                ("keep * state[day % 7] + (1 - keep)", "(1 - keep) * state[day % 7] + keep"),
            ),
            "keep and 1 - keep are exchanged",
        ),
        (
            _but(_SMOOTH, ("keep * state[day % 7] + (1 - keep) * ", "")),
            "this is last week's count",
        ),
        (
            _but(
                _SMOOTH,
                ("        state[day % 7] = keep * state[day % 7] + (1 - keep) * flow[day]\n", ""),
            ),
            "never updated",
        ),
        (
            _but(_SMOOTH, ("day % 7", "0"), ("range(7,", "range(1,"), ("flow[:7]", "flow[:1]")),
            "one number for all days",
        ),
        (
            _but(_SMOOTH, ("flow[:7].clone()", "(1 - keep) * flow[:7]")),
            "only a part of the first week",
        ),
        (_but(_SMOOTH, ('flow * float("nan")', "torch.zeros_like(flow)")), "nan, not 0"),
        (_but(_SMOOTH, ('flow * float("nan")', "flow.clone()")), "nan, not their own count"),
        (
            _but(_SMOOTH, ("state[day % 7]\n        s", "flow[day % 7:day:7].mean(0)\n        s")),
            "the mean of all weeks so far",
        ),
        (_but(_SMOOTH, ("return forecast", "return forecast[7:]")), "give them rows of nan"),
        (_but(_SMOOTH, (".clone()", "")), "changes the inputs"),
    ],
    "11.5": [
        (_bias("share ** (1 / steps)"), "this is the gate σ(b), and not its bias"),
        (_bias("-torch.logit(share ** (1 / steps))"), "forgets what it should keep"),
        (_bias("torch.logit(share / steps)"), "not a quotient"),
        (_bias("torch.logit(1 - (1 - share) / steps)"), "the losses do not add up"),
        (_bias("torch.logit((1 - share) ** (1 / steps))"), "what has been forgotten"),
        (_bias("torch.logit(share**steps)"), "goes the wrong way"),
        (_bias("torch.atanh(share ** (1 / steps))"), "not a tanh"),
        (_bias("steps.log()"), "rule of thumb"),
        (_bias("torch.logit(share ** (1 / (steps + 1)))"), "one step too many"),
        (_bias("torch.logit(share ** (1 / (steps - 1)))"), "one step too few"),
        (_bias("[math.log(s) for s in steps]"), "is a list, and a tensor is asked for"),
    ],
    "11.6": [
        (_but(_FOLLOWER, ("small=0.01", "small=1.0")), "the tanh bends the numbers"),
        (_but(_FOLLOWER, (" / small", "")), "the output is as small"),
        (_but(_FOLLOWER, ("[1.0, 0.0]]", "[0.0, 1.0]]")), "the unit for the past stays at 0"),
        (_but(_FOLLOWER, ("-1.0]", "1.0]")), "the past is added"),
        (_but(_FOLLOWER, (" / math.sin(d)", "")), "the division by sin d is missing"),
        (_but(_FOLLOWER, ("[[math.cos(d)", "[[1.0")), "cos d is missing"),
        (_but(_FOLLOWER, ("[[small], [0.0]]", "[[small], [small]]")), "reads the input too"),
        (_but(_FOLLOWER, ("[[math.cos(d), -1.0]]", "[[-1.0, math.cos(d)]]")), "are exchanged"),
        (
            _but(_FOLLOWER, ("    rnn, out", "    d = math.pi / 10\n    rnn, out")),
            "whatever d is asked",
        ),
        (_but(_FOLLOWER, (", *out.parameters()", ", out.weight")), "some biases are not 0"),
        (
            _but(_FOLLOWER, ("batch_first=True", "batch_first=False")),
            "an nn.RNN(1, 2, batch_first=True)",
        ),
        (
            _but(_FOLLOWER, ("return rnn, out", "return nn.Sequential(rnn, out)")),
            "two layers are asked",
        ),
        (_but(_FOLLOWER, ("return rnn, out", "return out, rnn")), "first an nn.RNN"),
        (
            _but(
                _FOLLOWER,
                (
                    "    return",
                    "    rnn, out = nn.RNN(1, 64, batch_first=True), nn.Linear(64, 1)\n    return",
                ),
            ),
            "two hidden units and one layer",
        ),
    ],
}
