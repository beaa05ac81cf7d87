"""What chapter 05 writes by hand agrees with torch, NumPy and scikit-learn, for many random shapes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import accuracy_score, confusion_matrix, recall_score, roc_auc_score
from taught import NOTEBOOKS, taught_namespace
from torch.testing import assert_close

from utils.notebooks import read_notebook, results_of

SEEDS = range(6)


@pytest.fixture(scope="module")
def taught():
    return taught_namespace("05_linear_models")


@pytest.fixture(params=SEEDS)
def generator(request):
    return torch.Generator().manual_seed(request.param)


def draw(generator, *shape):
    return torch.randn(*shape, generator=generator, dtype=torch.double)


def sizes(generator, *bounds):
    """A random size within each pair of bounds."""
    return [int(torch.randint(low, high, (), generator=generator)) for low, high in bounds]


def loans(generator, n, d):
    """Inputs and noisy labels, both classes present and not separable."""
    x = draw(generator, n, d)
    y = (x[:, 0] + 2 * draw(generator, n) > 0.5).double()
    y[:4] = torch.tensor([0.0, 1.0, 0.0, 1.0])
    return x, y


# --- least squares --------------------------------------------------------------------------------


def test_least_squares_agrees_with_lstsq_and_scikit_learn(taught, generator):
    n, d = sizes(generator, (30, 200), (1, 12))
    x, y = draw(generator, n, d), draw(generator, n)
    design = taught["with_ones"](x)
    assert design.shape == (n, d + 1) and (design[:, -1] == 1).all()
    beta, error = taught["least_squares"](design, y)
    assert_close(beta, torch.linalg.lstsq(design, y).solution)
    reference = LinearRegression().fit(x, y)
    assert_close(beta, torch.tensor([*reference.coef_, reference.intercept_]))
    assert error.shape == beta.shape and (error > 0).all()


@pytest.mark.parametrize("degree", [1, 2, 5])
def test_standard_errors_agree_with_numpy(taught, generator, degree):
    """``polyfit`` computes them by another way, with the same degrees of freedom."""
    x, y = draw(generator, 60), draw(generator, 60)
    powers = x[:, None] ** torch.arange(degree, -1, -1)  # the order of polyfit
    beta, error = taught["least_squares"](powers, y)
    expected, covariance = np.polyfit(x.numpy(), y.numpy(), degree, cov=True)
    assert_close(beta, torch.tensor(expected.copy()))
    assert_close(error, torch.tensor(np.sqrt(np.diag(covariance))))


def test_standard_errors_tell_the_scatter_over_fresh_samples(taught):
    """Of the line of the chapter: two standard errors cover the truth in 95 % of the samples."""
    generator = torch.Generator().manual_seed(0)
    truth, inside = torch.tensor([5, 7.125]).double(), []
    for _ in range(1000):
        x = torch.rand(256, 1, generator=generator, dtype=torch.double)
        y = 5 * x[:, 0] + 7 + torch.rand(256, generator=generator) / 4
        beta, error = taught["least_squares"](taught["with_ones"](x), y)
        inside.append((beta - truth).abs() < 2 * error)
    share = torch.stack(inside).double().mean(dim=0)
    assert (share > 0.93).all() and (share < 0.975).all()


# --- logistic regression --------------------------------------------------------------------------


@pytest.mark.parametrize("l2", [0.0, 0.5, 30.0])
def test_logistic_regression_agrees_with_scikit_learn(taught, generator, l2):
    n, d = sizes(generator, (200, 400), (1, 8))
    x, y = loans(generator, n, d)
    weight = taught["fit_logistic"](x, y, l2)
    C = 1 / l2 if l2 else np.inf
    reference = LogisticRegression(C=C, tol=1e-10, max_iter=10_000).fit(x, y)
    expected = torch.tensor([*reference.coef_[0], *reference.intercept_])
    assert_close(weight, expected, atol=1e-5, rtol=0)


def test_logistic_regression_ends_where_the_gradient_vanishes(taught, generator):
    x, y = loans(generator, 300, 5)
    weight = taught["fit_logistic"](x, y, 2.0).requires_grad_()
    logit = taught["with_ones"](x) @ weight
    loss = F.binary_cross_entropy_with_logits(logit, y, reduction="sum")
    (loss + weight[:-1].square().sum()).backward()  # half of l2 = 2; the bias is spared
    assert_close(weight.grad, torch.zeros_like(weight), atol=1e-8, rtol=0)


def test_without_penalty_shift_and_scale_of_the_inputs_change_nothing(taught, generator):
    """Why the leak of E-22 does not show; with a penalty they do change something."""
    x, y = loans(generator, 300, 4)
    moved = x * torch.tensor([0.1, 3, 7, 1]) + draw(generator, 4)
    logits = {}
    for l2 in (0.0, 5.0):
        logits[l2] = [taught["with_ones"](z) @ taught["fit_logistic"](z, y, l2) for z in (x, moved)]
    assert_close(*logits[0.0])
    assert (logits[5.0][0] - logits[5.0][1]).abs().max() > 0.01


# --- judging probabilities ------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [3, 1000])
def test_auc_agrees_with_scikit_learn(taught, generator, levels):
    """With three levels most pairs are ties."""
    n = sizes(generator, (20, 300))[0]
    _, y = loans(generator, n, 1)
    score = (torch.rand(n, generator=generator, dtype=torch.double) * levels).floor()
    assert taught["auc"](score, y) == pytest.approx(roc_auc_score(y, score))


def test_verdict_agrees_with_scikit_learn(taught, generator):
    repeats, n = sizes(generator, (1, 5), (20, 100))
    y = torch.stack([loans(generator, n, 1)[1] for _ in range(repeats)])
    p = torch.rand(repeats, n, generator=generator, dtype=torch.double)
    p[:, :2] = 0.5  # one good, one bad loan, not above the threshold: called good
    found = taught["verdict"](p, y)
    right = [accuracy_score(a, b > 0.5) for a, b in zip(y, p, strict=True)]
    areas = [roc_auc_score(a, b) for a, b in zip(y, p, strict=True)]
    assert found["accuracy"] == pytest.approx(np.mean(right))
    assert (found["lowest"], found["highest"]) == pytest.approx((min(right), max(right)))
    assert found["recall"] == pytest.approx(recall_score(y.flatten(), p.flatten() > 0.5))
    assert found["AUC"] == pytest.approx(np.mean(areas))


def test_reliability_agrees_with_scikit_learn(taught, generator):
    groups = sizes(generator, (2, 12))[0]
    p = torch.rand(40 * groups, generator=generator, dtype=torch.double)
    y = torch.bernoulli(p, generator=generator)
    predicted, observed = taught["reliability"](p, y, groups)
    expected = calibration_curve(y, p, n_bins=groups, strategy="quantile")
    assert_close(observed.double(), torch.tensor(expected[0]), atol=1e-6, rtol=0)
    assert_close(predicted.double(), torch.tensor(expected[1]), atol=1e-6, rtol=0)


def test_calibration_error_by_hand(taught, generator):
    p = torch.arange(10).repeat_interleave(10) / 10  # ten groups of ten equal predictions
    y = (torch.arange(10).repeat(10) < 10 * p + 0.5).double()
    assert taught["calibration_error"](p, (y - 0.1)) == pytest.approx(0.0, abs=1e-6)
    order = torch.randperm(100, generator=generator)
    for shift in (0.2, -0.3):
        error = taught["calibration_error"](p[order] + shift, y[order] - 0.1)
        assert error == pytest.approx(abs(shift), abs=1e-6)
    opposite = torch.where(p < 0.45, 0.2, -0.2)  # too high and too low do not cancel
    error = taught["calibration_error"](p, y - 0.1 - opposite)
    assert error == pytest.approx(0.2, abs=1e-6)


def test_mean_cost_agrees_with_the_confusion_matrix(taught, generator):
    n = sizes(generator, (20, 300))[0]
    _, y = loans(generator, n, 1)
    p = torch.rand(n, generator=generator, dtype=torch.double)
    for threshold in (0.0, 1 / 6, 0.5, 1.0):
        (_, refused_good), (granted_bad, _) = confusion_matrix(y, p > threshold)
        expected = (5 * granted_bad + refused_good) / n
        assert taught["mean_cost"](p, y, threshold) == pytest.approx(expected)
        expected = (2 * granted_bad + 3 * refused_good) / n
        assert taught["mean_cost"](p, y, threshold, 2, 3) == pytest.approx(expected)


@pytest.mark.parametrize(("missed", "refused"), [(5, 1), (1, 1), (1, 3)])
def test_the_threshold_follows_from_the_costs(taught, missed, refused):
    """With calibrated probabilities the cheapest threshold is refused / (missed + refused)."""
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(400_000, generator=generator)
    y = torch.bernoulli(p, generator=generator)
    rule = refused / (missed + refused)
    cost = {
        shift: taught["mean_cost"](p, y, rule + shift, missed, refused) for shift in (-0.1, 0, 0.1)
    }
    assert min(cost, key=cost.get) == 0


# --- cross-validation -----------------------------------------------------------------------------


def test_folds_share_out_every_class(taught, generator):
    n, k = sizes(generator, (40, 200), (2, 11))
    _, y = loans(generator, n, 1)
    torch.manual_seed(n)
    fold, other = taught["stratified_folds"](y, k), taught["stratified_folds"](y, k)
    assert fold.shape == y.shape and not torch.equal(fold, other)
    for rows in (y == 0, y == 1, torch.ones(n, dtype=torch.bool)):
        counts = fold[rows].bincount(minlength=k)
        assert len(counts) == k and counts.max() - counts.min() <= 1


def test_every_row_is_predicted_by_a_model_that_has_not_seen_it(taught, generator):
    n, k = sizes(generator, (40, 120), (2, 8))
    x, y = 3 + 2 * draw(generator, n, 3), torch.arange(n).double()  # the label names the row
    fold = torch.arange(n)[torch.randperm(n, generator=generator)] % k
    calls = []

    def predict(seen, label, new):
        assert_close(seen.mean(0), torch.zeros(3).double())
        assert_close(seen.std(0), torch.ones(3).double())
        calls.append(set(label.tolist()))
        return new[:, 0] + 1000 * (len(calls) - 1)

    p = taught["out_of_fold"](x, y, fold, predict)
    assert len(calls) == k
    for row in range(n):
        seen = calls[fold[row]]
        assert row not in seen and len(seen) == (fold != fold[row]).sum()
        train = x[fold != fold[row], 0]
        z = (x[row, 0] - train.mean()) / train.std()
        assert_close(p[row], z + 1000 * fold[row])


def test_a_label_does_not_leak_into_its_own_prediction(taught, generator):
    x, y = loans(generator, 100, 3)
    fold = taught["stratified_folds"](y, 5)
    flipped = y.clone()
    flipped[10] = 1 - y[10]
    before, after = (taught["out_of_fold"](x, label, fold) for label in (y, flipped))
    same_fold = fold == fold[10]
    assert_close(before[same_fold], after[same_fold])
    assert not torch.allclose(before[~same_fold], after[~same_fold])


def test_the_default_prediction_is_penalised_logistic_regression(taught, generator):
    x, y = loans(generator, 120, 3)
    new = draw(generator, 15, 3)
    reference = LogisticRegression(C=0.1, tol=1e-10, max_iter=10_000).fit(x, y)
    expected = torch.tensor(reference.predict_proba(new)[:, 1])
    assert_close(taught["by_logistic"](x, y, new), expected, atol=1e-5, rtol=0)


# --- softmax regression ---------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_the_softmax_gradient_agrees_with_autograd(taught, generator, scale):
    """The large scale would overflow a plain exponential."""
    n, d, classes = sizes(generator, (1, 40), (1, 10), (2, 12))
    x = scale * draw(generator, n, d)
    label = torch.randint(classes, (n,), generator=generator)
    weight, bias = (
        draw(generator, *shape).requires_grad_() for shape in ((d, classes), (classes,))
    )
    expected = torch.autograd.grad(F.cross_entropy(x @ weight + bias, label), (weight, bias))
    onehot = F.one_hot(label, classes).double()
    found = taught["softmax_gradient"](x, onehot, weight.detach(), bias.detach())
    assert_close(found, expected)


# --- the chapter's results ------------------------------------------------------------------------


def test_the_chapter_reports_the_loans_beside_their_majority():
    results = results_of(read_notebook(NOTEBOOKS / "05_linear_models.ipynb"))
    metrics = results["metrics"]
    assert metrics["german_credit_majority"] == metrics["german_credit_accuracy_cv_baseline"] == 0.7
    assert metrics["german_credit_accuracy_cv"] >= 0.75 and metrics["german_credit_auc_cv"] >= 0.77
    assert [r["metric"] for r in results["results"] if r["headline"]] == [
        "german_credit_accuracy_cv"
    ]
