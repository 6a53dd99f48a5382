"""TRIPOD+AI (Collins et al., BMJ 2024; 385:e078378): each item, and where the report answers it, if it does.

What a study's tables cannot know (funding, ethics, setting, years) is said to be not available: its authors
state it in their paper.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from m3h_pipeline.report.blocks import Block, Cell, table, words
from m3h_pipeline.report.gather import Gathered

#: Not in any table of a study.
NOT_AVAILABLE: Final = "not available"
_ANSWER, _OUTCOMES, _COHORT, _METHODS = "answer", "outcomes", "cohort", "methods"

#: Item, what it asks for, the chapter that answers it (empty: none), and a word on how.
ITEMS: Final = (
    ("1", "Title names the study as developing or evaluating a prediction model", "", ""),
    ("2", "Abstract", "", "the answer is a draft of its results"),
    ("3a", "Healthcare context and rationale", "", ""),
    ("3b", "Target population, intended purpose and users", "purpose", ""),
    ("3c", "Known health inequalities", "", ""),
    ("4", "Objectives", _ANSWER, "what was asked"),
    ("5a", "Sources of data", _METHODS, "input files by name and digest"),
    ("5b", "Dates of the data", "", "tables tell no calendar years"),
    ("6a", "Setting", "", ""),
    ("6b", "Eligibility", _COHORT, "flow, and what was set aside; criteria are the source's"),
    ("6c", "Treatments received", "", ""),
    ("7", "Data preparation, and whether it was alike across groups", _METHODS, "scaling; the same for all"),
    ("8a", "Outcomes, and how and when they were assessed", _COHORT, "audit of labels"),
    ("8b", "Who assessed subjective outcomes", "", ""),
    ("8c", "Blinding of the assessment of outcomes", "", ""),
    ("9a", "Choice of the initial predictors", _METHODS, "sources of each modality"),
    ("9b", "Definition of all predictors", _COHORT, "sources and features"),
    ("9c", "Who assessed subjective predictors", "", ""),
    (
        "10",
        "Size of the study",
        _OUTCOMES,
        "no calculation beforehand; detectable differences beside each result",
    ),
    (
        "11",
        "Missing data",
        _COHORT,
        "shares by source; scores where a source is missing on the outcomes' pages",
    ),
    ("12a", "Which data for development and for evaluation", _METHODS, "parts by patient, at random"),
    ("12b", "Handling of predictors", _METHODS, ""),
    ("12c", "Type of model, building, hyper-parameters, internal validation", _METHODS, ""),
    (
        "12d",
        "Heterogeneity between clusters (hospitals, countries)",
        "",
        "subgroups on the pages",
    ),
    ("12e", "Measures of performance", _METHODS, "discrimination, calibration, net benefit"),
    ("12f", "Updating of the model", _OUTCOMES, "recalibrated out of fold; before and after on the pages"),
    ("12g", "How predictions are calculated", "bundle", ""),
    ("13", "Class imbalance", _METHODS, "none is resampled; predictions are recalibrated"),
    ("14", "Fairness", _OUTCOMES, "subgroups with gaps and intervals on the outcomes' pages"),
    ("15", "Output of the model", _OUTCOMES, "probabilities and thresholds on the outcomes' pages"),
    ("16", "Training data against evaluation data", _COHORT, "Table 1 by part"),
    ("17", "Ethical approval", "", ""),
    ("18a", "Funding", "", ""),
    ("18b", "Conflicts of interest", "", ""),
    ("18c", "Protocol", "", "the ledger tells when the test part was opened"),
    ("18d", "Registration", "", ""),
    ("18e", "Sharing of data", "", ""),
    ("18f", "Sharing of code", _METHODS, "software, versions and digests"),
    ("19", "Involvement of patients and the public", "", ""),
    ("20a", "Flow of participants", _COHORT, "flow"),
    ("20b", "Characteristics of participants", _COHORT, "Table 1"),
    ("20c", "Development against evaluation data", _COHORT, "standardised differences"),
    ("21", "Numbers of participants and events in each analysis", _COHORT, "outcomes by part"),
    ("22", "Specification of the model", "bundle", ""),
    ("23a", "Performance with intervals", _OUTCOMES, ""),
    ("23b", "Heterogeneity of performance", _OUTCOMES, "subgroups on the outcomes' pages"),
    ("24", "Results of updating", _OUTCOMES, "calibration before and after on the outcomes' pages"),
    ("25", "Interpretation", _ANSWER, "what was found; the rest is for the paper"),
    ("26", "Limitations", _ANSWER, "what must be known beside it"),
    (
        "27a",
        "Poor or absent input where the model is used",
        _COHORT,
        "sources that are missing, on the pages",
    ),
    ("27b", "What users must do and know", "bundle", ""),
    ("27c", "Next steps", "", "`m3h evaluate-bundle` validates elsewhere"),
)
_TITLES: Final = {_ANSWER: "Answer", _OUTCOMES: "Outcomes", _COHORT: "Cohort", _METHODS: "Methods"}


def checklist(gathered: Gathered) -> Iterator[Block]:
    """The table of the items."""
    purpose = gathered.study.bundle
    stated = [
        text for text in (purpose.intended_use, purpose.not_for and f"Not for: {purpose.not_for}") if text
    ]
    rows: list[list[Cell]] = []
    for item, asked, where, how in ITEMS:
        place: Cell
        if where in _TITLES:
            place = {"text": _TITLES[where], "to": where}
        elif where == "bundle":
            place, how = "Bundle", "bundle/bundle.json and its model card"
        elif where == "purpose" and stated:
            place, how = "Stated", " ".join(stated)
        else:
            place, how = NOT_AVAILABLE, "; ".join(filter(None, ["for the paper", how]))
        rows.append([item, asked, place, how])
    there = sum(row[2] != NOT_AVAILABLE for row in rows)
    yield words(
        f"{there} of {len(rows)} items are answered here; the others are for those who publish the study."
    )
    yield table(
        f"The {len(rows)} items", ["Item", "Asks for", "Where", "How"], rows, name="tripod-table", folded=True
    )
