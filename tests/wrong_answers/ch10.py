"""Typical wrong answers to the exercises of chapter 10: (code, part of the diagnosis)."""

_PAPER = "shape_a, weights_b, macs_b = {}, {}, {}"

_THREES = """def in_threes(a, b, kernel):
    layers = [nn.Conv2d(a, b, 3)]
    for _ in range((kernel - 3) // 2):
        layers += [nn.ReLU(), nn.Conv2d(b, b, 3)]
    return nn.Sequential(*layers)
"""

_FOLD = """def fold(conv, norm):
    c = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    new = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding)
    with torch.no_grad():
        new.weight.copy_(conv.weight * scale[:, None, None, None])
        new.bias.copy_(norm.bias + (c - norm.running_mean) * scale)
    return new
"""

_BLOCK = """class Bottleneck(nn.Module):
    def __init__(self, channels_in, width, stride=1):
        super().__init__()
        out = 4 * width
        self.c1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.c2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.c3 = nn.Conv2d(width, out, 1, bias=False)
        self.n1, self.n2, self.n3 = (nn.BatchNorm2d(n) for n in (width, width, out))
        nn.init.zeros_(self.n3.weight)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels_in != out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )
    def forward(self, x):
        y = self.n1(self.c1(x)).relu()
        y = self.n2(self.c2(y)).relu()
        y = self.n3(self.c3(y))
        return (y + self.shortcut(x)).relu()
"""

_FROZEN = """class Frozen(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body.requires_grad_(False).eval()
    def forward(self, x):
        return self.body(x)
    def train(self, mode=True):
        super().train(mode)
        self.body.eval()
        return self
"""

_SHOTS = """def few_shot(source, source_labels, shots, shot_labels, queries, shrink):
    d = source.clone()
    for c in source_labels.unique():
        d[source_labels == c] -= source[source_labels == c].mean(0)
    S = d.T @ d / len(d)
    S = S + shrink * S.diagonal().mean() * torch.eye(len(S))
    P = torch.linalg.inv(S)
    classes = shot_labels.unique()
    means = torch.stack([shots[shot_labels == c].mean(0) for c in classes])
    gaps = queries[:, None] - means
    return classes[(gaps @ P * gaps).sum(-1).argmin(1)]
"""


def _but(source, *changes):
    """The source with parts replaced; each must be there."""
    for old, new in changes:
        if old not in source:
            raise ValueError(f"{old!r} is not there")
        source = source.replace(old, new)
    return source


WRONG = {
    "10.1": [
        (_PAPER.format("(4, 248, 35, 35)", 1, 1), "stay inside their branches"),
        (_PAPER.format("(4, 116, 35, 35)", 1, 1), "the pooling branch is missing"),
        (_PAPER.format("[4, 35, 35, 212]", 1, 1), "the channels are axis 1"),
        (_PAPER.format("212", 1, 1), "write a tuple"),
        (_PAPER.format("(4, 212, 35, 35)", 114688, 1), "3×3 numbers for each pair"),
        (_PAPER.format("(4, 212, 35, 35)", 246528, 1), "have no bias"),
        (_PAPER.format("(4, 212, 35, 35)", 245760, 3136 * 245760), "the stride is missing"),
        (_PAPER.format("(4, 212, 35, 35)", 245760, 784 * 245760), "the first one works at 56×56"),
        (_PAPER.format("(4, 212, 35, 35)", 245760, 245760), "used at every place"),
        (_PAPER.format("(4, 212, 35, 35)", 245760, 2 * 269746176), "count as one multiply-add"),
    ],
    "10.2": [
        (
            _but(_THREES, ("(kernel - 3) // 2", "kernel // 3 - 1"), ("nn.ReLU(), ", "")),
            "as if a 3×3 convolution took 3 pixels away",
        ),
        (_but(_THREES, ("(kernel - 3)", "(kernel - 1)")), "one convolution too many"),
        (
            _but(_THREES, ("(kernel - 3) // 2", "kernel - 3")),
            "each further one adds 2 pixels, not 1",
        ),
        (_but(_THREES, ("nn.ReLU(), ", "")), "one linear convolution"),
        (
            _but(_THREES, ("(*layers)", "(*layers, nn.ReLU())")),
            "no ReLU after the last convolution",
        ),
        (_but(_THREES, ("b, 3)", "b, 3, padding=1)")), "stride 1 and no padding"),
        (_but(_THREES, ("(b, b, 3)", "(b, b, kernel)")), "all convolutions must be 3×3"),
        (_but(_THREES, ("nn.ReLU", "nn.Tanh")), "what comes from the ReLU"),
        (
            "def in_threes(a, b, kernel):\n    again = nn.Conv2d(b, b, 3)\n"
            "    layers = [nn.Conv2d(a, b, 3)]\n    for _ in range((kernel - 3) // 2):\n"
            "        layers += [nn.ReLU(), again]\n    return nn.Sequential(*layers)",
            "the same convolution runs several times",
        ),
        (
            "def in_threes(a, b, kernel):\n    layers = []\n    for _ in range((kernel - 3) // 2):\n"
            "        layers += [nn.Conv2d(a, a, 3), nn.ReLU()]\n"
            "    return nn.Sequential(*layers, nn.Conv2d(a, b, 3))",
            "the first convolution leads from 2 to 3 channels",
        ),
    ],
    "10.3": [
        (_but(_FOLD, (" + norm.eps", "")), "eps is missing"),
        (
            _but(_FOLD, ("(norm.running_var + norm.eps).sqrt()", "(norm.running_var + norm.eps)")),
            "not by the variance",
        ),
        (_but(_FOLD, ("norm.weight / ", "1 / ")), "norm.weight is missing"),
        (_but(_FOLD, ("norm.bias + ", "")), "norm.bias is missing"),
        (_but(_FOLD, ("(c - norm", "(0 - norm")), "the convolution's own bias is lost"),
        (
            _but(_FOLD, ("(c - norm.running_mean) * scale", "c - norm.running_mean * scale")),
            "own bias must be multiplied by the scale",
        ),
        (_but(_FOLD, ("c - norm.running_mean", "c")), "the running mean is not subtracted"),
        (_but(_FOLD, (" * scale[:, None, None, None]", "")), "the kernels are not scaled"),
        (_but(_FOLD, (", conv.stride, conv.padding", "")), "stride and padding of the new"),
        (_but(_FOLD, ("scale[:, None, None, None]", "scale")), "your code raises RuntimeError"),
        (
            "def fold(conv, norm): return nn.Sequential(conv, norm)",
            "a single nn.Conv2d is asked for",
        ),
        (
            "def fold(conv, norm):\n    scale = norm.weight / (norm.running_var + norm.eps).sqrt()\n"
            "    conv.weight.data *= scale[:, None, None, None]\n    return conv",
            "changes the inputs",
        ),
    ],
    "10.4": [
        (
            _but(
                _BLOCK,
                ("width, 1, bias", "width, 1, stride, bias"),
                ("3, stride, padding", "3, padding"),
            ),
            "a 1×1 with stride 2 never sees",
        ),
        (_but(_BLOCK, ("shortcut(x)).relu()", "shortcut(x))")), "the last ReLU is missing"),
        (
            _but(_BLOCK, ("self.n3(self.c3(y))", "self.n3(self.c3(y)).relu()")),
            "must be able to subtract",
        ),
        (
            _but(
                _BLOCK,
                ("self.n3(self.c3(y))", "self.n3(self.c3(y)).relu()"),
                ("(y + self.shortcut(x)).relu()", "y + self.shortcut(x)"),
            ),
            "yours stand the other way round",
        ),
        (_but(_BLOCK, ("y + self.shortcut(x)", "y")), "the shortcut is not added"),
        (_but(_BLOCK, ("self.n2(self.c2(y)).relu()", "self.n2(self.c2(y))")), "after the second"),
        (_but(_BLOCK, (", bias=False", "")), "the convolutions need no bias"),
        (
            _but(_BLOCK, (", bias=False), nn.BatchNorm2d(out)", ", bias=False)")),
            "also in the shortcut",
        ),
        (
            _but(_BLOCK, ("if stride != 1 or channels_in != out", "if True")),
            "the shortcut is x itself",
        ),
        (
            _but(_BLOCK, ("stride != 1 or ", "")),
            "Bottleneck(20, 5, 2) does not run",
        ),
        (
            _but(_BLOCK, ("        nn.init.zeros_(self.n3.weight)\n", "")),
            "does something already",
        ),
        (
            _but(_BLOCK, ("(self.n3.weight)", "(self.n3.weight), nn.init.zeros_(self.n1.weight)")),
            "only the last batch norm",
        ),
        (_but(_BLOCK, ("out = 4 * width", "out = width")), "of the convolutions have the shapes"),
    ],
    "10.5": [
        (
            _FROZEN[: _FROZEN.index("    def train")],
            "after train() on the network around it batch norm uses",
        ),
        (
            _but(_FROZEN, (".eval()\n    def forward", "\n    def forward")),
            "right after Frozen(body) batch norm uses",
        ),
        (
            _but(
                _FROZEN,
                (
                    "return self.body(x)",
                    "\n        with torch.no_grad():\n            return self.body(x)",
                ),
            ),
            "no gradient gets through to x",
        ),
        (_but(_FROZEN, (".requires_grad_(False)", "")), "still ask for gradients"),
        (_but(_FROZEN, ("        return self\n", "")), "train() must return the module itself"),
        (
            _but(
                _FROZEN,
                ("self.body = body", "self.body = [body]"),
                (".requires_grad_(False).eval()", ""),
            )
            .replace("self.body.eval()", "self.body[0].eval()")
            .replace("self.body(x)", "self.body[0].eval()(x)"),
            "does not know its body",
        ),
        (
            _but(
                _FROZEN,
                (
                    "        return self.body(x)",
                    "        self.body.train()(x)\n        return self.body.eval()(x)",
                ),
            ),
            "right after Frozen(body) the result",
        ),
        (
            _but(
                _FROZEN,
                (
                    "        self.body.eval()\n",
                    "        for m in self.body.modules():\n"
                    "            if isinstance(m, nn.BatchNorm1d):\n                m.eval()\n",
                ),
            ),
            "after train() on the network around it dropout drops",
        ),
    ],
    "10.6": [
        (_but(_SHOTS, ("classes[(", "("), ("argmin(1)]", "argmin(1)")), "positions in the list"),
        (_but(_SHOTS, ("gaps @ P * gaps", "gaps * gaps")), "the plain distance"),
        (
            _but(_SHOTS, ("    S = d.T @ d", "    d = source - source.mean(0)\n    S = d.T @ d")),
            "the mean of its own class",
        ),
        (
            _but(_SHOTS, ("S = d.T @ d", "S = source.T @ source")),
            "without subtracting the class means",
        ),
        (_but(_SHOTS, ("torch.linalg.inv(S)", "S")), "its inverse is needed"),
        (
            _but(_SHOTS, ("S + shrink * S.diagonal().mean() * torch.eye(len(S))", "S")),
            "shrink is not used",
        ),
        (_but(_SHOTS, (" * S.diagonal().mean()", "")), "not shrink itself"),
        (_but(_SHOTS, ("argmin", "argmax")), "the farthest classes"),
        (
            _but(
                _SHOTS,
                ("classes = shot_labels.unique()", "classes = shot_labels"),
                ("shots[shot_labels == c].mean(0) for c in classes", "s for s in shots"),
            ),
            "the nearest single shot",
        ),
        (_but(_SHOTS, ("inv(S)", "inv(S.diagonal().diag())")), "do not stray independently"),
        (_but(_SHOTS, ("d = source.clone()", "d = source")), "changes the inputs"),
    ],
}
