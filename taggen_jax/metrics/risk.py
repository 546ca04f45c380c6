"""What is gained by leaving the doubtful products to people: risk against coverage."""

import numpy as np

from taggen_jax.metrics.accumulator import Accumulator
from taggen_jax.metrics.counts import Counts
from taggen_jax.metrics.histogram import Histogram
from taggen_jax.metrics.prediction import Prediction

COVERAGES = (20, 40, 60, 80, 100)


class Risk(Accumulator):
    """The risk of answering only the products of highest confidence; without any scores it is empty.

    Confidence is the mean score of the answered tags (0 where none is answered); risk is 1 - F1 of a product,
    or 1 - exact match. Products of one confidence (to 1e-4) count in their expected order, which is to say
    that each has their mean risk.

    aurc_f1, aurc_exact   mean over n of the risk of the n most confident products (Geifman and El-Yaniv,
                          2017), the area below the curve
    risk_at_20 ...        risk (1 - F1) of the most confident 20% of the products
    """

    STATE = ("histogram",)

    def __init__(self) -> None:
        """Starts empty."""
        self.histogram = Histogram(2)  # with each confidence: 1 - F1, 1 - exact match

    def add(self, prediction: Prediction) -> None:
        """Scores one product."""
        if prediction.scores is None:
            return
        scores = dict(zip(prediction.ranked, prediction.scores, strict=True))
        answered = [scores.get(tag, 0.0) for tag in prediction.tags]
        confidence = sum(answered) / len(answered) if answered else 0.0
        gold, tags = set(prediction.gold), set(prediction.tags)
        f1 = Counts(len(gold & tags), len(tags - gold), len(gold - tags)).scores()[2]
        self.histogram.add(confidence, 1 - f1, gold != tags)

    def curves(self) -> np.ndarray:
        """Risk (1 - F1, 1 - exact match) of the n most confident products: float64[products, 2]."""
        rows = self.histogram.rows()[::-1]
        counts = rows[:, 0].astype(int)
        risks = np.repeat(rows[:, 1:] / rows[:, :1], counts, axis=0)
        return np.cumsum(risks, axis=0) / np.arange(1, len(risks) + 1)[:, None]

    def result(self) -> dict[str, float]:
        """Fractions in 0..1; empty where no product came with scores."""
        curves = self.curves()
        if not len(curves):
            return {}
        areas = curves.mean(axis=0).tolist()
        at = {
            f"risk_at_{share}": float(curves[max(round(share / 100 * len(curves)), 1) - 1, 0])
            for share in COVERAGES
        }
        return dict(zip(("aurc_f1", "aurc_exact"), areas, strict=True)) | at
