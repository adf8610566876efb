"""Where a fit goes next, and which classes are at their end: decided by process 0, which has the sample."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from hdlogit.exact.descent import Aim, descend
from hdlogit.exact.existence import Certificate, separating_direction
from hdlogit.exact.objective import Array, Trials
from hdlogit.exact.sample import Sample

UNPROVEN = 50  # iterations after which a class without a proof that its estimate exists is in doubt
SINGLE = 1e-7  # tolerance that single precision reaches
CLOSER = 0.5  # of the tolerance is aimed at on the sample
ROUNDS = 50  # at most
NAMED = 2**20  # factors up to which a linear programme names those that separate completely
UNDER_WAY, CONVERGED, NOT_CONVERGED, ALIKE, SEPARATED, UNDECIDED = range(6)
Classes = NDArray[np.intp]


class Steering:
    """For all classes: where they are, and what is known of them."""

    def __init__(self, trials: Trials, sample: Sample, aim: Aim) -> None:
        self.trials, self.sample, self.aim = trials, sample, aim
        n_classes, n_sampled = sample.responses.shape
        c, yes = sample.coordinates, sample.responses.sum(1, dtype=np.float64)
        self.points = np.zeros((n_classes, c.rank + 1))
        self.points[:, -1] = np.log((yes + 0.5) / (n_sampled - yes + 0.5)) / 2  # the best bias alone
        self.start = self.points.copy()
        self.base, self.gradient = np.full((2, *self.points.shape), np.nan)  # the last points, and the gradient there
        self.shift = np.zeros((n_classes, len(c.units) + 1))
        y = trials.responses
        self.hard = np.ones(n_classes, dtype=bool) if y.dtype == np.bool_ else ((y == 0) | (y == 1)).all(0)
        self.certificate = Certificate.of(sample, self.hard) if aim.ridge == 0 else None
        self.proven = np.full(n_classes, aim.ridge > 0)
        self.iterations = np.zeros(n_classes, dtype=np.int64)
        self.max_gradient = np.full(n_classes, np.nan)
        self.separating = np.zeros((n_classes, len(c.units)), dtype=np.uint8)
        self.back = np.zeros(n_classes, dtype=bool)
        self.rounds = 0

    @classmethod
    def prepare(cls, trials: Trials, aim: Aim) -> Steering | None:
        """In process 0; but all look at all trials where factors seem to depend on one another."""
        sample, dependent, exactly = None, np.zeros(1), aim.tolerance < SINGLE
        if trials.group.is_writer:
            sample = Sample.draw(trials, aim.ridge, exactly)
            dependent[:] = sample.coordinates.dependent
        trials.group.broadcast(torch.from_numpy(dependent))
        if dependent:
            moments = trials.moments()
            if not np.isfinite(moments[1]).all():
                trials.refuse()
            if trials.group.is_writer:
                sample = Sample.draw(trials, aim.ridge, True, moments)
        return cls(trials, sample, aim) if sample else None

    def propose(self, classes: Classes) -> Array:
        """Coefficients (n, n_factors + 1) of these classes: the sample's minimum, shifted, or back from there."""
        there = classes[~self.back[classes]]
        certificate, most = self.certificate, min(UNPROVEN, self.aim.max_iterations)
        if self.rounds:
            certificate, most = None, self.aim.max_iterations
        aim = replace(self.aim, tolerance=CLOSER * self.aim.tolerance, max_iterations=most)
        self.points, proven = descend(self.sample, self.points, there, self.shift, certificate, self.iterations, aim)
        self.proven |= proven if certificate else False
        self.rounds += 1
        return self.sample.coordinates.coefficients(self.points[classes])

    def judge(self, classes: Classes, gradient: Array, worst: Array) -> NDArray[np.int64]:
        """Each class's status, from the objective's gradient (n, n_factors + 1) and largest |residual| (n,) there."""
        c = self.sample.coordinates
        by_v = c.by_standardised(gradient)
        self.max_gradient[classes] = c.largest(by_v)
        status = np.where(self.max_gradient[classes] <= self.aim.tolerance, CONVERGED, UNDER_WAY)
        last = (self.iterations[classes] >= self.aim.max_iterations) | (self.rounds >= ROUNDS)
        status[(status == UNDER_WAY) & last] = NOT_CONVERGED
        self._look_back(classes, c.by_point(by_v))
        for row in np.flatnonzero(~self.proven[classes]):
            completely = bool(worst[row] < 0.5 and self.hard[classes[row]])
            if completely or status[row] != NOT_CONVERGED:
                status[row] = self._doubt(int(classes[row]), completely)
        going = classes[(status == UNDER_WAY) & ~self.back[classes]]
        if len(going):
            logits = self.sample.logits(self.points[going])
            here, _ = self.sample.evaluate(self.points[going], logits, self.sample.responses[going])
            known = np.isfinite(self.base[going, :1])
            self.shift[going] = np.where(known, by_v[np.isin(classes, going)] - here, 0)
        return status

    def _look_back(self, classes: Classes, gradient: Array) -> None:
        """Which classes went too far, as the slope along their last step has turned: these go back by the secant."""
        step = self.points[classes] - self.base[classes]
        before, there = np.vecdot(self.gradient[classes], step), np.vecdot(gradient, step)
        back = (there > -0.5 * before) & (before < 0)  # of NaN, False
        self.back[classes] = back
        ratio = 1 / (1 - there[back] / before[back])
        self.points[classes[back]] = self.base[classes[back]] + ratio[:, None] * step[back]
        self.base[classes[~back]], self.gradient[classes[~back]] = self.points[classes[~back]], gradient[~back]

    def _doubt(self, k: int, completely: bool) -> int:
        """The status of a class without a proof: separated, undecided, or under way from the start once more."""
        x, y = self.trials.factors, self.trials.responses[:, k].astype(np.float64)
        direction = (self.sample.coordinates.standardised(self.points[[k]]))[0, :-1]
        if not completely or x.size <= NAMED:
            try:
                found = separating_direction(self.sample, x, y)
            except RuntimeError:
                return UNDECIDED
            if found is None and not completely:
                self.proven[k], self.points[k], self.base[k] = True, self.start[k], np.nan
                self.back[k] = False
                return UNDER_WAY
            direction = direction if found is None else found
        self.separating[k] = np.abs(direction) > 0.1 * np.abs(direction).max()
        return SEPARATED
