"""Typical wrong answers to the exercises of chapter 07: (code, part of the diagnosis)."""

SHARE = "def constant_answer(labels):\n    p = torch.bincount(labels) / len(labels)\n"
NET = (
    "class Classifier(nn.Module):\n    def __init__(self, sizes):\n        super().__init__()\n"
    "        self.layers = {held}\n"
    "    def forward(self, images):\n        x = {flat}\n        *hidden, last = self.layers\n"
    "        for layer in hidden:\n            x = {between}\n        return {end}"
)


def net(
    held="nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))",
    flat="images.flatten(1)",
    between="F.relu(layer(x))",
    end="last(x)",
):
    return NET.format(held=held, flat=flat, between=between, end=end)


ZONE = (
    "def learn_zone(x, y):\n    model = {model}\n    optimizer = torch.optim.Adam(model.parameters(), lr={lr})\n"
    "    for _ in range(150):\n        loss = {loss}\n        optimizer.zero_grad()\n        loss.backward()\n"
    "        {step}\n    return model"
)


def zone(
    model="nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 1))",
    lr=0.05,
    loss="F.binary_cross_entropy_with_logits(model(x), y)",
    step="optimizer.step()",
):
    return ZONE.format(model=model, lr=lr, loss=loss, step=step)


TABLE = (
    "def most_confused(logits, labels):\n    k = logits.shape[1]\n"
    "    t = torch.bincount(k * labels + logits.argmax(1), minlength=k * k).reshape(k, k)\n"
)
FIND = "    a, b = divmod(t.argmax().item(), k)\n    return a, b, t.max().item()"
POSTERIOR = "def posterior(x, d, share):\n    prior = torch.logit(torch.tensor(share))\n"

WRONG = {
    "07.1": [
        (SHARE + "    return p.max().item(), -(p * p.log()).sum().item()", "0 · ln 0"),
        (
            SHARE + "    return p.max().item(), torch.tensor(float(len(p))).log().item()",
            "ln of the number of classes is the loss for equal shares",
        ),
        (
            SHARE + "    return p.max().item(), -(p * (p + 1e-9).log2()).sum().item()",
            "these are bits",
        ),
        (
            SHARE + "    p = p[p > 0]\n    return p.max().item(), -p.log().mean().item()",
            "you take their plain mean",
        ),
        (
            SHARE + "    return p.max().item(), -p.max().log().item()",
            "you charge the largest share to all",
        ),
        (
            SHARE + "    return (p * p).sum().item(), -(p * (p + 1e-9).log()).sum().item()",
            "drawing the answer at random",
        ),
    ],
    "07.2": [
        (
            "def bce(z, y):\n    p = torch.sigmoid(z)\n    return -(y * p.log() + (1 - y) * (1 - p).log()).mean()",
            "for logits like -200 your loss is nan or inf",
        ),
        (
            "def bce(z, y):\n    p = torch.sigmoid(z).clamp(1e-7, 1 - 1e-7)\n"
            "    return -(y * p.log() + (1 - y) * (1 - p).log()).mean()",
            "the worst mistakes are cut off",
        ),
        (
            "def bce(z, y):\n    up = torch.where(z > 0, z + torch.log1p(torch.exp(-z)), torch.log1p(torch.exp(z)))\n"
            "    return (up - z * y).mean()",
            "the branch that is not taken",
        ),
        (
            "def bce(z, y): return (z.clamp(min=0) - z * y + torch.log1p(torch.exp(-z.abs()))).sum()",
            "this is the sum",
        ),
        (
            "def bce(z, y): return (z.clamp(min=0) - z * (1 - y) + torch.log1p(torch.exp(-z.abs()))).mean()",
            "the wrong way round",
        ),
        (
            "def bce(z, y): return (y * (torch.log1p(torch.exp(-z.abs())) + (-z).clamp(min=0))).mean()",
            "the term for target 0 is missing",
        ),
        (
            "def bce(z, y):\n    z = z.detach()\n"
            "    return (z.clamp(min=0) - z * y + torch.log1p(torch.exp(-z.abs()))).mean()",
            "no gradient can be taken",
        ),
    ],
    "07.3": [
        (net(end="last(x).softmax(dim=1)"), "these are probabilities"),
        (net(end="last(x).log_softmax(dim=1)"), "belong to NLLLoss"),
        (
            net(held="[nn.Linear(a, b) for a, b in pairwise(sizes)]"),
            "a plain list hides its layers",
        ),
        (net(between="layer(x)"), "together one linear layer"),
        (net(end="F.relu(last(x))"), "behind the last layer, too"),
        (net(end="last(x).squeeze()"), "has lost its batch axis"),
        (
            net(held="nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in pairwise(sizes))"),
            "a weight and a bias for each layer",
        ),
    ],
    "07.4": [
        (zone(model="nn.Linear(2, 1)"), "your network is linear"),
        (zone(step="pass"), "are the steps taken"),
        (
            zone(
                model="nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 1), nn.Sigmoid())",
                loss="F.binary_cross_entropy(model(x), y)",
            ),
            "these are probabilities",
        ),
        (zone(loss="F.binary_cross_entropy_with_logits(model(x), 1 - y)"), "learnt the opposite"),
        (
            zone(
                model="nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2))",
                loss="F.cross_entropy(model(x), y[:, 0].long())",
            ),
            "and one logit for each",
        ),
        (zone(lr=0.002), "and 94 % are asked for"),
    ],
    "07.5": [
        (TABLE + "    t.fill_diagonal_(0)\n" + FIND, "the smaller class is to come first"),
        (TABLE + "    t = t + t.T\n" + FIND, "counts twice when the transpose is added"),
        (TABLE + FIND, "the diagonal holds the right answers: it must not count"),
        (
            TABLE
            + "    t.fill_diagonal_(0)\n    t = t + t.T\n    a, b = divmod(t.argmax().item(), k)\n"
            "    return b, a, t.max().item()",
            "put the smaller class first",
        ),
        (
            TABLE + "    s = (t + t.T).triu(1)\n    a, b = divmod(s.argmax().item(), k)\n"
            "    return a, b, t[a, b].item()",
            "only the first class taken for the second",
        ),
        (
            TABLE + "    t.fill_diagonal_(0)\n    a, b = sorted(divmod(t.argmax().item(), k))\n"
            "    return a, b, t.max().item()",
            "this counts one direction only: add both",
        ),
    ],
    "07.6": [
        (
            "def posterior(x, d, share):\n    one = share * torch.exp(-((x - d) ** 2) / 2).prod(1) * 0.3989**200\n"
            "    zero = (1 - share) * torch.exp(-((x + d) ** 2) / 2).prod(1) * 0.3989**200\n"
            "    return one / (one + zero)",
            "200 densities multiplied are zero",
        ),
        ("def posterior(x, d, share): return torch.sigmoid(2 * d * x.sum(1))", "plays no part"),
        (POSTERIOR + "    return torch.sigmoid(d * x.sum(1) + prior)", "half of what it should be"),
        (POSTERIOR + "    return torch.sigmoid(4 * d * x.sum(1) + prior)", "twice too large"),
        (POSTERIOR + "    return 2 * d * x.sum(1) + prior", "these are logits"),
        (POSTERIOR + "    return torch.sigmoid(2 * d * x.mean(1) + prior)", "not its mean"),
        (
            "def posterior(x, d, share):\n"
            "    return torch.sigmoid(2 * d * x.sum(1) + torch.tensor(share).log())",
            "not as ln(share)",
        ),
    ],
}
