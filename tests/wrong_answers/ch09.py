"""Typical wrong answers to the exercises of chapter 09: (code, part of the diagnosis)."""

_LENET = """
class LeNet5(nn.Module):
    def __init__(self, channels, height, width, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        a, b = ((height - 4) // 2 - 4) // 2, ((width - 4) // 2 - 4) // 2
        self.fc1 = nn.Linear(16 * a * b, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, classes)

    def forward(self, x):
        x = F.max_pool2d(self.conv1(x).relu(), 2)
        x = F.max_pool2d(self.conv2(x).relu(), 2)
        x = self.fc2(self.fc1(x.flatten(1)).relu()).relu()
        return self.fc3(x)
"""

_DEPTH = """
def layers_needed(days, kernel, growth):
    n, d, seen = 0, 1, 1
    while seen < days:
        n, seen, d = n + 1, seen + (kernel - 1) * d, d * growth
    return n
"""

_LOCATE = """
def locate(picture, piece):
    h, w = piece.shape
    products = F.conv2d(picture[None, None], piece[None, None])[0, 0]
    squares = F.conv2d((picture**2)[None, None], torch.ones(1, 1, h, w))[0, 0]
    score = squares - 2 * products
    k = int(score.argmin())
    return k // score.shape[1], k % score.shape[1]
"""

_MAPS = """
def class_maps(maps, weight, bias):
    places = maps[0, 0].numel()
    out = torch.einsum("kc,bcij->bkij", weight, maps)
    return out + bias[:, None, None]
"""

_KERNEL = """
def kernel_gradient(x, slope, side, stride):
    rows, columns = slope.shape[2:]
    out = torch.zeros(slope.shape[1], x.shape[1], side, side)
    for i in range(side):
        for j in range(side):
            met = x[:, :, i : i + stride * rows : stride, j : j + stride * columns : stride]
            met = met[:, :, :rows, :columns]
            out[:, :, i, j] = torch.einsum("bcij,boij->oc", met, slope)
    return out
"""

_SHORT = """
def kernel_gradient(x, slope, side, stride):
    out = F.conv2d(x.transpose(0, 1), slope.transpose(0, 1), dilation=stride)
    return out[:, :, :side, :side].transpose(0, 1)
"""


def _but(source, *changes):
    """A right answer with a mistake in it."""
    for old, new in changes:
        assert old in source, old
        source = source.replace(old, new)
    return source


def _kernels(
    right="[[0.0, 0, 0], [1, 0, 0], [0, 0, 0]]",
    slope="[[0, -0.5, 0], [0, 0, 0], [0, 0.5, 0]]",
    sharp="torch.tensor([[-1.0, -1, -1], [-1, 17, -1], [-1, -1, -1]]) / 9",
):
    return f"right, slope = torch.tensor({right}), torch.tensor({slope})\nsharp = {sharp}"


WRONG = {
    "09.1": [
        (
            _kernels(right="[[0.0, 0, 0], [0, 0, 1], [0, 0, 0]]"),
            "right moves the picture to the left",
        ),
        (_kernels(right="[[0.0, 1, 0], [0, 0, 0], [0, 0, 0]]"), "moves the picture down"),
        (_kernels(right="[[0, 0, 0], [1, 0, 0], [0, 0, 0]]"), "right has the dtype torch.int64"),
        (_kernels(right="[0.0, 0, 0, 1, 0, 0, 0, 0, 0]"), "right has the shape (9,)"),
        (_kernels(slope="[[0, 0.5, 0], [0, 0, 0], [0, -0.5, 0]]"), "slope goes upwards"),
        (_kernels(slope="[[0, -1.0, 0], [0, 0, 0], [0, 1, 0]]"), "slope is twice too large"),
        (_kernels(slope="[[0, 0, 0], [-0.5, 0, 0.5], [0, 0, 0]]"), "slope goes from left to right"),
        (_kernels(slope="[[-0.5] * 3, [0] * 3, [0.5] * 3]"), "slope adds up all three columns"),
        (_kernels(sharp="torch.eye(9)[4].view(3, 3) - 1 / 9"), "the pixel itself must be added"),
        (_kernels(sharp="torch.full((3, 3), 1 / 9)"), "sharp is the mean"),
        (
            _kernels(sharp="torch.tensor([[-1.0, -1, -1], [-1, 16, -1], [-1, -1, -1]]) / 8"),
            "the mean of the eight neighbours",
        ),
        (
            _kernels(sharp="torch.tensor([[-1.0, -1, -1], [-1, 1, -1], [-1, -1, -1]])"),
            "subtracts the sum of the nine pixels",
        ),
    ],
    "09.2": [
        (_but(_LENET, ("16 * a * b", "400")), "as if every picture had 32×32 pixels"),
        (
            _but(_LENET, ("16 * a * b", "16 * (height // 4) * (width // 4)")),
            "each convolution takes away 4 rows",
        ),
        (_but(_LENET, ("16 * a * b", "16 * a * a")), "fc1 knows the height alone"),
        (_but(_LENET, ("16 * a * b", "a * b")), "fc1 forgets the 16 channels"),
        (
            _but(
                _LENET,
                (
                    "((height - 4) // 2 - 4) // 2, ((width - 4) // 2 - 4) // 2",
                    "-(-(height - 12) // 4), -(-(width - 12) // 4)",
                ),
            ),
            "fc1 rounds up",
        ),
        (_but(_LENET, ("Conv2d(channels, 6, 5)", "Conv2d(1, 6, 5)")), "conv1 reads one channel"),
        (_but(_LENET, ("84, classes", "84, 10")), "ten logits for 7 classes"),
        (_but(_LENET, ("self.fc3(x)", "self.fc3(x).softmax(1)")), "these are probabilities"),
        (
            _but(_LENET, ("self.fc3(x)", "self.fc3(x).log_softmax(1)")),
            "logarithms of probabilities",
        ),
        (
            _but(
                _LENET,
                (
                    "self.fc2(self.fc1(x.flatten(1)).relu()).relu()",
                    "self.fc2(self.fc1(x.flatten(1)))",
                ),
            ),
            "three linear layers in a row",
        ),
        (_but(_LENET, ("F.max_pool2d", "F.avg_pool2d")), "the pooling takes the mean"),
        (_but(_LENET, ("(x).relu(), 2)", "(x), 2)")), "the ReLUs after the convolutions"),
        (_but(_LENET, ("self.fc3(x)", "self.fc3(x).relu()")), "a ReLU on the logits"),
        (_but(_LENET, ("self.fc3(x)", "self.fc3(x).detach()")), "carry no gradient"),
        (_but(_LENET, ("fc3", "output")), "there is no layer self.fc3"),
        (_but(_LENET, ("x.flatten(1)", "x.flatten(0)")), "your code raises RuntimeError"),
    ],
    "09.3": [
        (_but(_DEPTH, ("seen + (kernel - 1) * d", "seen + kernel * d")), "not kernel · d"),
        (
            _but(_DEPTH, ("n, d, seen = 0, 1, 1", "n, d, seen = 0, 1, 0 if days > 1 else 1")),
            "from 1, not from 0",
        ),
        (_but(_DEPTH, ("d * growth", "d")), "the dilation does not grow"),
        (
            _but(_DEPTH, ("n, d, seen = 0, 1, 1", "n, d, seen = 0, growth, 1")),
            "growth comes with the second",
        ),
        (_but(_DEPTH, ("d * growth", "d + growth - 1")), "it grows by adding"),
        (_but(_DEPTH, ("seen < days", "seen <= days")), "at least, not more than"),
        (
            "def layers_needed(days, kernel, growth):\n    n = 0\n"
            "    while kernel**n < days:\n        n += 1\n    return n",
            "do not multiply",
        ),
        (_but(_DEPTH, ("return n", "return n - 1")), "one layer too few"),
        (_but(_DEPTH, ("return n", "return n + 1")), "one layer too many"),
        (
            "import math\n\n\ndef layers_needed(days, kernel, growth):\n"
            "    steps = (days - 1) / (kernel - 1)\n"
            "    if growth == 1:\n        return math.ceil(steps)\n"
            "    return math.ceil(math.log(steps * (growth - 1) + 1) / math.log(growth))",
            "a logarithm comes out a little above 3",
        ),
        (
            _but(_DEPTH, ("return n", "return n + (growth == 1)")),
            "layers_needed(31, 7, 1) should be 5",
        ),
        (
            "def layers_needed(days, kernel, growth): return days / kernel",
            "layers are whole numbers",
        ),
    ],
    "09.4": [
        (_but(_LOCATE, ("score.argmin()", "products.argmax()")), "where the products are largest"),
        (_but(_LOCATE, ("squares - 2 * products", "products")), "where the products are smallest"),
        (
            _but(
                _LOCATE,
                ("piece[None, None])[0", "piece.flip(0, 1)[None, None])[0"),
                ("score.argmin()", "products.argmax()"),
            ),
            "of a kernel turned around",
        ),
        (_but(_LOCATE, ("argmin", "argmax")), "the place with the largest difference"),
        (
            _but(
                _LOCATE,
                (
                    "k // score.shape[1], k % score.shape[1]",
                    "k % score.shape[1], k // score.shape[1]",
                ),
            ),
            "the row comes first",
        ),
        (
            _but(
                _LOCATE, ("k // score.shape[1], k % score.shape[1]", "divmod(k, picture.shape[1])")
            ),
            "divided by the width of the picture",
        ),
        (
            _but(_LOCATE, ("k // score.shape[1], k % score.shape[1]", "k")),
            "the number in the flat map",
        ),
        (
            _but(
                _LOCATE,
                (
                    "k // score.shape[1], k % score.shape[1]",
                    "k // score.shape[1] + h // 2, k % score.shape[1] + w // 2",
                ),
            ),
            "the middle of the piece",
        ),
        (_but(_LOCATE, ("2 * products", "products")), "the product counts twice"),
        (
            _but(_LOCATE, ("[0, 0]\n    score", "[0]\n    score"), ("(1, 1, h, w)", "(h, w)")),
            "your code raises",
        ),
    ],
    "09.5": [
        (_but(_MAPS, ("out + bias[:, None, None]", "out")), "the bias is missing"),
        (
            _but(_MAPS, ("bias[:, None, None]", "bias[:, None, None] / places")),
            "the bias is divided",
        ),
        (
            _but(_MAPS, ("out + bias[:, None, None]", "(out + bias[:, None, None]) / places")),
            "add up to the logit",
        ),
        (_but(_MAPS, ("return out", "return out / places")), "the weights are divided"),
        (
            _but(_MAPS, ("out + bias[:, None, None]", "(out + bias[:, None, None]).relu()")),
            "are cut off",
        ),
        (
            _but(
                _MAPS, ("weight, maps)", "weight, maps.mean((2, 3), keepdim=True).expand_as(maps))")
            ),
            "all places have the same value",
        ),
        (
            "def class_maps(maps, weight, bias): return maps.mean(dim=(2, 3)) @ weight.T + bias",
            "these are the logits",
        ),
        (
            "def class_maps(maps, weight, bias): return maps.movedim(1, -1) @ weight.T + bias",
            "the axes are in another order",
        ),
    ],
    "09.6": [
        (
            _but(_KERNEL, ('"oc", met'.replace('"oc"', 'oc"'), 'oc", met / len(x)')),
            "the mean over the batch",
        ),
        (
            _but(_KERNEL, ("    return out", "    return out / (rows * columns)")),
            "the mean over all places",
        ),
        (
            _but(_KERNEL, ("    return out", "    return out / (rows * columns * len(x))")),
            "the mean over batch and places",
        ),
        (
            _but(_KERNEL, ("    return out", "    return out.transpose(0, 1)")),
            "inputs and outputs are exchanged",
        ),
        (_but(_KERNEL, ("    return out", "    return out.flip(2, 3)")), "comes out turned around"),
        (
            _but(_KERNEL, ("slope)", "slope).sum(1, keepdim=True)")),
            "the sum over the channels of x",
        ),
        (
            _but(_KERNEL, ("met, slope)", "met[:1], slope[:1])")),
            "the first picture of the batch alone",
        ),
        (_but(_SHORT, (", dilation=stride", "")), "neighbours have met windows"),
        (
            _but(_SHORT, (", dilation=stride", ""), ("[:, :, :side, :side]", "")),
            "and the map is not cut",
        ),
        (_but(_SHORT, ("[:, :, :side, :side]", "")), "no window has reached in full"),
        (_but(_SHORT, ("dilation", "stride")), "the slopes must lie apart instead"),
    ],
}
