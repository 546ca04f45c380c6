"""Present and absent tags: what counts as present, and that each half is scored alone."""

import pytest

from taggen_jax.metrics.prediction import Prediction
from taggen_jax.metrics.presence import Presence, present, tokens


@pytest.mark.parametrize(
    ("tag", "text", "is_present"),
    [
        ("red lamp", "A Red  lamp, for you", True),
        ("red lamp", "red, then lamp", False),
        ("lamp", "lamps", False),  # no stemming
        ("red-lamp", "red lamp", True),
        ("T恤", "男士t恤 白色", True),
        ("白色", "男士白色长裤", True),  # Chinese has no spaces: characters are the tokens
        ("色白", "男士白色长裤", False),
        ("ＲＥＤ", "red", True),  # NFKC
        ("...", "...", False),  # nothing of a word in it
        (7, "7 of them", True),
    ],
)
def test_a_present_tag_is_a_contiguous_run_of_tokens(tag, text, is_present):
    assert present(tag, tokens(text)) == is_present


def test_by_hand():
    presence = Presence()
    presence.add(Prediction(gold=("red", "gift", "kids"), tags=("red", "lamp", "gift"), text="red lamp"))
    presence.add(Prediction(gold=("blue",), tags=("gift",), text="blue chair"))
    presence.add(Prediction(gold=("blue",), tags=("blue",)))  # no text: of neither half
    assert presence.result() == pytest.approx(
        {
            "present_positives": 2,
            "present_micro_precision": 1 / 2,
            "present_micro_recall": 1 / 2,
            "present_micro_f1": 1 / 2,
            "present_f1_at_5": (2 / 6 + 0) / 2,
            "present_recall_at_5": (1 + 0) / 2,
            "absent_positives": 2,
            "absent_micro_precision": 1 / 2,
            "absent_micro_recall": 1 / 2,
            "absent_micro_f1": 1 / 2,
            "absent_f1_at_5": 2 / 7,  # one product has absent gold tags
            "absent_recall_at_5": 1 / 2,
        }
    )


def test_a_half_is_ranked_without_the_other():
    """The absent tag stands sixth, behind five present ones: first among its own."""
    presence = Presence()
    presence.add(Prediction(gold=("far",), tags=(), ranked=(*"abcde", "far"), text="a b c d e"))
    assert presence.result()["absent_recall_at_5"] == 1.0


def test_without_text_the_result_is_empty():
    assert Presence().result() == {}
