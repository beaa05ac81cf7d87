"""Figures of merit against hand-computed numbers and against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, mean_absolute_error, root_mean_squared_error

from utils.metrics import accuracy, mae, rmse, wmape

TRUE = torch.tensor([[2.0, 4.0], [6.0, 0.0]])
GUESS = torch.tensor([[1.0, 4.0], [9.0, 2.0]])


def test_by_hand():
    assert mae(GUESS, TRUE) == pytest.approx(6 / 4)
    assert rmse(GUESS, TRUE) == pytest.approx((14 / 4) ** 0.5)
    assert wmape(GUESS, TRUE) == pytest.approx(6 / 12)
    assert accuracy(torch.tensor([0, 2, 1]), torch.tensor([0, 1, 1])) == pytest.approx(2 / 3)


def test_scores_and_class_ids_give_the_same_accuracy():
    scores = torch.tensor([[0.1, 0.9], [0.8, 0.2], [-3.0, -2.0]])
    target = torch.tensor([1, 1, 1])
    assert accuracy(scores, target) == accuracy(scores.argmax(1), target) == pytest.approx(2 / 3)


@pytest.mark.parametrize("seed", range(5))
def test_against_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    truth, guess = rng.normal(size=50), rng.normal(size=50)
    assert mae(guess, truth) == pytest.approx(mean_absolute_error(truth, guess))
    assert rmse(guess, truth) == pytest.approx(root_mean_squared_error(truth, guess))
    classes, guesses = rng.integers(0, 4, 50), rng.integers(0, 4, 50)
    assert accuracy(guesses, classes) == pytest.approx(accuracy_score(classes, guesses))


@pytest.mark.parametrize("metric", [mae, rmse, wmape, accuracy])
def test_shapes_that_would_broadcast_are_refused(metric):
    # (N, 1) against (N,) silently compares every pair: the classic mistake
    with pytest.raises(ValueError, match="shapes differ"):
        metric(torch.zeros(3, 1, 1), torch.zeros(3))


@pytest.mark.parametrize("metric", [mae, rmse, wmape, accuracy])
def test_nothing_to_compare_is_refused(metric):
    with pytest.raises(ValueError, match="nothing to compare"):
        metric(torch.zeros(0), torch.zeros(0))


def test_wmape_without_passengers_is_refused():
    with pytest.raises(ValueError, match="zero everywhere"):
        wmape(torch.ones(3), torch.zeros(3))


def test_a_prediction_that_carries_a_graph_is_no_problem():
    guess = GUESS.clone().requires_grad_()
    assert mae(guess, TRUE) == pytest.approx(1.5)
