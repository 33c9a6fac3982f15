"""The choice of phrases and of the background threshold that label the frames best, and what each phrase does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from activesam_ros.datasets.class_map import NOT_COUNTED
from activesam_ros.evaluation.metrics import ConfusionMatrix, area_under_curve
from activesam_ros.stages.calibration import background_mask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from activesam_ros.tuning.evidence import Evidence
    from activesam_ros.tuning.phrases import Phrases

THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
# A change has to gain so much mIoU on the frames that choose: less is noise.
_LEAST_GAIN = 0.002
_ROUNDS = 3
# Phrases tried for each class: those whose own masks fit it best.
_MOST_TRIED = 12
_MASK_LEVELS = (0.2, 0.4, 0.6)


@dataclass(frozen=True)
class Tried:
    """What one phrase would do as the only one of a class, on the frames that choose.

    Attributes:
        class_index, phrase: which.
        auc: area under the ROC curve of its presence, frames with the class against those without; NaN if all have it.
        gain: mIoU gained over the phrases at the start.
        class_gain: IoU of the class gained.
        loser: index of the class that loses most IoU; None: none does.
        loss: how much it loses.
    """

    class_index: int
    phrase: int
    auc: float
    gain: float
    class_gain: float
    loser: int | None
    loss: float


@dataclass(frozen=True)
class Choice:
    """The chosen phrases of each class, the threshold, and mIoU on the frames that choose, before and after."""

    phrases: tuple[tuple[int, ...], ...]
    threshold: float
    before: float
    after: float
    tried: tuple[Tried, ...]


def choose(
    evidence: Evidence,
    phrases: Phrases,
    evaluated: Sequence[int],
    most_phrases: int,
    exponent: float,
    threshold: float,
    step: Callable[[], object] = lambda: None,
) -> Choice:
    """Choose phrases class by class, then the threshold, so that the mIoU of the evaluated classes rises most.

    Args:
        evidence: of the frames that choose, with truth.
        phrases: what there is to choose from; classes without truth keep their own.
        evaluated: indices of the classes that the truth has.
        most_phrases: a class gets at most so many.
        exponent: the setting `margin_exponent`.
        threshold: the background threshold at the start.
        step: is called after each class of each round.
    """
    state = _State(evidence, phrases.own, evaluated)
    before = state.mean_iou()
    fit = _mask_fit(state, len(evaluated))
    tried: list[Tried] = []
    for turn in range(_ROUNDS):
        changed = False
        for position, one in enumerate(evaluated):
            shortlist = _shortlist(phrases.candidates[one], fit[:, position], state, one)
            if turn == 0:
                tried += [_tried(state, one, phrase) for phrase in shortlist]
            changed |= _improve(state, one, shortlist, most_phrases)
            step()
        if not changed:
            break
    for one in evaluated:
        _restore(state, one, phrases.own[one])
    chosen = tuple(tuple(found) for found in state.chosen)
    scores = {level: state.mean_iou(level, exponent) for level in {*THRESHOLDS, threshold}}
    best = max(scores.values())
    # The threshold at the start stays unless another one gains; of equal ones the lowest.
    level = (
        threshold
        if scores[threshold] > best - _LEAST_GAIN
        else min(level for level, score in scores.items() if score == best)
    )
    return Choice(chosen, level, before, state.mean_iou(), tuple(tried))


class _State:
    """The phrases of each class, and the best class of every counted pixel."""

    def __init__(self, evidence: Evidence, own: Sequence[Sequence[int]], evaluated: Sequence[int]) -> None:
        assert evidence.truth is not None
        self.evidence = evidence
        self.chosen = [list(found) for found in own]
        counted = evidence.truth != NOT_COUNTED
        self._row = {one: row for row, one in enumerate(evaluated)}
        # Classes without truth count as one that is always wrong.
        self._rows = np.array([self._row.get(one, len(evaluated)) for one in range(len(own))])
        # [P, pixels]: only what is counted.
        self.scores = np.ascontiguousarray(evidence.scores.transpose(1, 0, 2, 3)[:, counted])
        self.truth = self._rows[evidence.truth[counted]]
        self._maps = np.stack([self.map_of(found) for found in self.chosen])

    def map_of(self, found: Sequence[int]) -> np.ndarray:
        """Return the score of a class that asks for these phrases, float16 [pixels]."""
        return self.scores[list(found)].max(axis=0)

    def rest(self, one: int) -> tuple[np.ndarray, np.ndarray]:
        """Return score and row of the best class of every pixel without one of them."""
        others = np.delete(self._maps, one, axis=0)
        if not len(others):
            return np.full(self._maps.shape[1], -1, np.float16), np.full(self._maps.shape[1], len(self._row))
        index = others.argmax(axis=0)
        rows = np.delete(self._rows, one)
        return np.take_along_axis(others, index[None], 0)[0], rows[index]

    def iou_if(self, one: int, found: Sequence[int], rest: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Return the IoU of every evaluated class if class ``one`` asked for these phrases."""
        score, row = rest
        wins = self.map_of(found) > score
        return self._iou(np.where(wins, self._rows[one], row))

    def _iou(self, predicted: np.ndarray) -> np.ndarray:
        count = len(self._row)
        matrix = np.bincount(self.truth * (count + 1) + predicted, minlength=count * (count + 1))
        return ConfusionMatrix(count, matrix.reshape(count, count + 1)).iou

    def put(self, one: int, found: Sequence[int]) -> None:
        """Let a class ask for these phrases."""
        self.chosen[one] = list(found)
        self._maps[one] = self.map_of(found)

    def taken(self, one: int) -> set[int]:
        """Return the phrases of the other classes: a phrase belongs to one class alone."""
        return {phrase for other, found in enumerate(self.chosen) if other != one for phrase in found}

    def mean_iou(self, threshold: float = 0.0, exponent: float = 1.0) -> float:
        """Return the mIoU of the evaluated classes; pixels without a winner that is clear enough stay unlabelled."""
        predicted = self._rows[self._maps.argmax(axis=0)]
        if threshold > 0 and len(self._maps) > 1:
            second, best = torch.from_numpy(np.partition(self._maps.astype(np.float32), -2, axis=0)[-2:])
            unclear = background_mask(best, second, threshold**exponent).numpy()
            predicted = np.where(unclear, len(self._row), predicted)
        return float(np.nanmean(self._iou(predicted)))


def _mask_fit(state: _State, evaluated: int) -> np.ndarray:
    """Return the best IoU, over a few levels, of each phrase's mask alone with each class, float [P, classes]."""
    scores = state.scores
    classes = (state.truth[:, None] == np.arange(evaluated)).astype(np.float32)
    fit = np.zeros((len(scores), evaluated), np.float32)
    for level in _MASK_LEVELS:
        masks = (scores >= level).astype(np.float32)
        inside = masks @ classes
        union = masks.sum(axis=1, keepdims=True) + classes.sum(axis=0) - inside
        fit = np.maximum(fit, inside / np.maximum(union, 1))
    return fit


def _shortlist(candidates: Sequence[int], fit: np.ndarray, state: _State, one: int) -> list[int]:
    """Return the phrases to try for a class: its own, and those that fit it best of what nobody else has."""
    taken, own = state.taken(one), state.chosen[one]
    others = [phrase for phrase in candidates if phrase not in taken and phrase not in own]
    return [*own, *sorted(others, key=lambda phrase: -fit[phrase])[:_MOST_TRIED]]


def _improve(state: _State, one: int, shortlist: Sequence[int], most: int) -> bool:
    """Give a class the set of phrases that a greedy search finds, if it gains; tell whether it did."""
    rest = state.rest(one)
    current = float(np.nanmean(state.iou_if(one, state.chosen[one], rest)))
    found: list[int] = []
    best = -1.0
    while len(found) < most:
        scores: Mapping[int, float] = {
            phrase: float(np.nanmean(state.iou_if(one, [*found, phrase], rest)))
            for phrase in shortlist
            if phrase not in found
        }
        if not scores:
            break
        phrase = max(scores, key=lambda phrase: scores[phrase])
        if scores[phrase] < best + _LEAST_GAIN:
            break
        found, best = [*found, phrase], scores[phrase]
    if set(found) == set(state.chosen[one]) or best < current + _LEAST_GAIN:
        return False
    state.put(one, found)
    return True


def _restore(state: _State, one: int, own: Sequence[int]) -> None:
    """Give a class its own phrases back if that loses nothing: another class may have been the reason to change."""
    if set(state.chosen[one]) == set(own) or state.taken(one) & set(own):
        return
    rest = state.rest(one)
    now, then = (float(np.nanmean(state.iou_if(one, found, rest))) for found in (state.chosen[one], own))
    if then > now - _LEAST_GAIN:
        state.put(one, own)


def _tried(state: _State, one: int, phrase: int) -> Tried:
    rest = state.rest(one)
    before = state.iou_if(one, state.chosen[one], rest)
    after = state.iou_if(one, [phrase], rest)
    change = after - before
    row = state._row[one]
    others = np.where(np.arange(len(change)) == row, 0.0, np.nan_to_num(change))
    loser = int(others.argmin())
    evaluated = list(state._row)
    truth = state.evidence.truth
    assert truth is not None
    there = (truth == one).any(axis=(1, 2))
    return Tried(
        one,
        phrase,
        area_under_curve(state.evidence.presence[:, phrase], there),
        float(np.nanmean(after) - np.nanmean(before)),
        float(change[row]),
        evaluated[loser] if others[loser] < 0 else None,
        float(-min(0.0, others[loser])),
    )
