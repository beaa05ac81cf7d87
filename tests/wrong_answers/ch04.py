"""Typical wrong answers to the exercises of chapter 04: (code, part of the diagnosis)."""

COUNTS = {
    "count_a": "1344",
    "count_b": "4512",
    "count_c": "64",
    "count_d": "14",
    "shape_e": "(8, 32, 15)",
    "shape_f": "(8, 20, 30)",
}


def _with(**wrong):
    """The right answers but for the named ones, as code."""
    return "\n".join(f"{name} = {value}" for name, value in (COUNTS | wrong).items())


def _moved(before="p.detach().clone()", change="(p.detach() - before[name]).abs().max().item()"):
    return (
        "def moved(model, step):\n"
        f"    before = {{name: {before} for name, p in model.named_parameters()}}\n"
        "    step()\n"
        f"    return {{name: {change} for name, p in model.named_parameters()}}"
    )


def _loss(code):
    return f"def log_cosh(prediction, target):\n    d = prediction - target\n    {code}".replace(
        "SAFE", "(torch.logaddexp(d, -d) - math.log(2))"
    )


DAY_NET = """
class DayNet(nn.Module):
    def __init__(self, stations, hidden):
        super().__init__()
        self.table = nn.Embedding(7, 2)
        self.first = nn.Linear({inputs}, hidden)
        self.second = nn.Linear(hidden, stations)

    def forward(self, x, weekday):
        both = torch.cat([{parts}], dim=1)
        return {result}
"""


def _day_net(
    inputs="stations + 2",
    parts="x, self.table(weekday)",
    result="self.second(F.relu(self.first(both)))",
):
    return DAY_NET.format(inputs=inputs, parts=parts, result=result)


def _shares(bias="(labels.bincount() / len(labels)).log()", weight="head.weight.zero_()"):
    return (
        "def start_at_shares(head, labels):\n"
        "    with torch.no_grad():\n"
        f"        {weight}\n"
        f"        head.bias.copy_({bias})\n"
        "    return head"
    )


CAUSAL = """
class CausalConv(nn.Module):
    def __init__(self, inputs, outputs, kernel, dilation=1):
        super().__init__()
        self.reach = dilation * (kernel - 1)
        self.conv = nn.Conv1d(inputs, outputs, kernel{options})

    def forward(self, x):
        return {result}
"""


def _causal(
    result="self.conv(F.pad(x.permute(0, 2, 1), (self.reach, 0))).permute(0, 2, 1)",
    options=", dilation=dilation",
):
    return CAUSAL.format(options=options, result=result)


WRONG = {
    "04.1": [
        (_with(count_a="1280"), "a: the bias is missing"),
        (_with(count_b="672"), "has a kernel of 7 numbers"),
        (_with(count_b="256"), "looks at all 20 input channels"),
        (_with(count_c="128"), "kept, but not trained"),
        (_with(count_d="16"), "it has no bias"),
        (_with(shape_e="(8, 32, 14)"), "+ 1 at the end"),
        (_with(shape_e="(8, 32, 16)"), "round down"),
        (_with(shape_e="15"), "write a tuple"),
        (_with(shape_f="(8, 20, 32)"), "takes places away here, at both ends"),
        (_with(shape_f="(8, 20, 28)"), "does not undo e"),
    ],
    "04.2": [
        (
            "def moved(model, step):\n"
            "    before = {name: w.numpy() for name, w in model.state_dict().items()}\n"
            "    step()\n"
            "    after = {name: w.numpy() for name, w in model.state_dict().items()}\n"
            "    return {name: float(abs(after[name] - before[name]).max()) for name in after}",
            "all changes are 0",
        ),
        (_moved(change="(p.detach() - before[name]).max().item()"), "the largest changes upwards"),
        (_moved(change="(p.detach() - before[name]).abs().mean().item()"), "the mean changes"),
        (_moved(change="p.detach() - before[name]"), "one number per parameter"),
        (_moved().replace("    step()\n", ""), "step was never called"),
        (_moved().replace("    step()\n", "    step()\n    step()\n"), "step was called 2 times"),
        (
            "def moved(model, step):\n"
            "    before = [p.detach().clone() for p in model.parameters()]\n"
            "    step()\n"
            "    return [(p - q).abs().max().item() for p, q in zip(before, model.parameters())]",
            "a dict is asked for",
        ),
    ],
    "04.3": [
        (_loss("return torch.log(torch.cosh(d)).mean()"), "the exponentials overflow"),
        (
            _loss("return torch.where(d.abs() < 20, d.cosh().log(), d.abs() - math.log(2)).mean()"),
            "the gradient is nan",
        ),
        (_loss("return torch.logaddexp(d, -d).mean()"), "log(2) is missing: an error of 0"),
        (_loss("return SAFE.sum()"), "not the sum"),
        (_loss("return SAFE"), "the single losses"),
        (_loss("return d.square().mean() / 2"), "half the squared error"),
        (_loss("return torch.tensor(SAFE.mean().item())"), "the loss has no gradient"),
        (
            _loss("d = d.clamp(-80, 80) + (d - d.clamp(-80, 80)).detach(); return SAFE.mean()"),
            "do not clamp",
        ),
        (
            _loss("return torch.logaddexp(d.mean(), -d.mean()) - math.log(2)"),
            "cancel out",
        ),
    ],
    "04.4": [
        (_day_net(result="self.second(self.first(both))"), "the activation is missing"),
        (_day_net(parts="self.table(weekday), x"), "append them behind"),
        (
            _day_net(result="F.relu(self.second(F.relu(self.first(both))))"),
            "no activation after the last layer",
        ),
        (_day_net(result="self.second(torch.tanh(self.first(both)))"), "not tanh"),
        (_day_net(inputs="stations", parts="x"), "does not see the weekday"),
        (_day_net(parts="x, self.table(weekday[:1]).expand(len(x), 2)"), "weekday of the first"),
        (
            "class DayNet(nn.Module):\n"
            "    def __init__(self, stations, hidden):\n"
            "        super().__init__()\n"
            "        self.parts = [nn.Embedding(7, 2), nn.Linear(stations + 2, hidden),"
            " nn.Linear(hidden, stations)]\n"
            "    def forward(self, x, weekday):\n"
            "        table, first, second = self.parts\n"
            "        return second(F.relu(first(torch.cat([x, table(weekday)], 1))))",
            "not in a plain list",
        ),
        (
            "class DayNet(nn.Module):\n"
            "    def __init__(self, stations, hidden):\n"
            "        self.first = nn.Linear(stations + 2, hidden)\n"
            "    def forward(self, x, weekday): return self.first(x)",
            "cannot assign module before Module.__init__() call",
        ),
        (_day_net().replace("(7, 2)", "(7, 3)").replace("+ 2", "+ 3"), "should have the shapes"),
        ("def DayNet(stations, hidden): return lambda x, weekday: x", "inherits from nn.Module"),
    ],
    "04.5": [
        (_shares(bias="labels.bincount() / len(labels)"), "the bias holds the shares themselves"),
        (_shares(bias="labels.bincount()"), "the numbers of examples"),
        (_shares(weight="pass"), "still depends on the input"),
        (_shares(bias="torch.zeros(4)"), "equally likely"),
        (_shares(bias="(labels.bincount() / len(labels)).logit()"), "the log-odds"),
        (_shares(bias="-(labels.bincount() / len(labels)).log()"), "the wrong sign"),
        (
            "def start_at_shares(head, labels):\n"
            "    head.weight.zero_()\n"
            "    head.bias.copy_((labels.bincount() / len(labels)).log())\n"
            "    return head",
            "a leaf Variable that requires grad",
        ),
        (
            _shares().replace("    return head", "    return head.requires_grad_(False)"),
            "must stay trainable",
        ),
        (_shares().replace("return head", "return head.bias"), "return the layer itself"),
    ],
    "04.6": [
        (
            _causal(
                "self.conv(x.permute(0, 2, 1)).permute(0, 2, 1)",
                ", dilation=dilation, padding='same'",
            ),
            "each output sees later days",
        ),
        (
            _causal("self.conv(F.pad(x.permute(0, 2, 1), (0, self.reach))).permute(0, 2, 1)"),
            "only later days",
        ),
        (_causal("self.conv(x.permute(0, 2, 1)).permute(0, 2, 1)"), "have no output: put"),
        (
            _causal(
                "self.conv(x.permute(0, 2, 1)).permute(0, 2, 1)",
                ", dilation=dilation, padding=self.reach",
            ),
            "too many days",
        ),
        (
            _causal(
                "self.conv(F.pad(x.permute(0, 2, 1), (self.conv.kernel_size[0] - 1, 0))).permute(0, 2, 1)",
                "",
            ),
            "the dilation is not used",
        ),
        (
            _causal(
                "self.conv(F.pad(x.reshape(len(x), -1, x.shape[1]), (self.reach, 0))).permute(0, 2, 1)"
            ),
            "the axes are mixed up",
        ),
        (
            _causal("self.conv(F.pad(x.permute(0, 2, 1), (self.reach, 0)))"),
            "permute the output back",
        ),
        (
            _causal(
                "self.conv(F.pad(x.permute(0, 2, 1), (self.conv.kernel_size[0] - 1, 0))).permute(0, 2, 1)"
            ),
            "kernel - 1 zeros are too few",
        ),
    ],
}
