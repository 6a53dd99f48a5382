"""What names of columns and values say to whoever has seen many tables of hospitals. All of it is a guess."""

from __future__ import annotations

import re
from typing import Final

_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_UNIT: Final = re.compile(r"[(\[]([^)\]]+)[)\]]\s*$")

#: Words and parts of words (of four letters and more). Identifiers.
IDS: Final = (
    *("id", "ids", "mrn", "nbr", "sno", "pid", "uid", "uuid", "barcode", "accession", "sampleid", "caseid"),
    *("patient", "subject", "encounter", "person", "sample", "case", "stay", "visit", "hadm"),
)
PATIENTS: Final = ("patient", "mrn", "subject", "person", "pid", "patientid", "subj")
CODES: Final = ("icd", "icd9", "icd10", "diag", "dx", "diagnosis", "code")
#: What is known of a person before anything happens.
PERSONS: Final = (
    *(
        "age",
        "sex",
        "gender",
        "race",
        "ethnic",
        "ethnicity",
        "height",
        "weight",
        "bmi",
        "ward",
        "unit",
        "edu",
    ),
    *("education", "income", "insurance", "payer", "marital", "language", "smok", "menopaus", "histolog"),
)
GROUPS: Final = ("sex", "gender", "race", "ethnicity", "ward", "insurance", "menopause", "site", "center")
#: What a study predicts.
OUTCOMES: Final = (
    *(
        "y",
        "label",
        "target",
        "outcome",
        "endpoint",
        "event",
        "status",
        "os",
        "pfs",
        "dfs",
        "rfs",
        "efs",
        "dss",
    ),
    *("dead", "death", "died", "deceas", "mortal", "expired", "survival", "readmi", "relaps", "recurr"),
    *("progression", "discharge", "disposition", "sepsis", "septic", "aki", "kdigo", "deliri", "complic"),
    *("los", "slos", "length_of_stay", "time_in_hospital", "long_stay", "charges", "remission", "respon"),
    *("er", "pr", "her2", "ihc", "pam50", "subtype", "metast", "node", "stage", "grade", "dnr", "ards"),
)
#: Ends in time: the events of survival tasks, the surest first.
EVENTS: Final = ("event", "status", "dead", "death", "died", "deceas", "relaps", "recurr", "progression")
TIMES: Final = (
    *("time", "days", "months", "years", "weeks", "hours", "duration", "fu", "followup", "follow_up", "tte"),
)
#: Lengths of a stay: outcomes themselves, no times to an event.
STAYED: Final = ("los", "slos", "stay", "time_in_hospital", "los_left")
#: What is known only afterwards, or is itself a prediction.
LATER: Final = (
    *("cost", "totcst", "totmcst", "bill", "charges", "dnrday", "hday", "predict", "prob", "risk", "prg"),
    *("surv", "discharg", "autopsy", "follow_up", "followup"),
)
#: Values that say: not known, beside those that mean it in every table.
_UNKNOWN: Final = re.compile(
    r"(?i)\?+|\[[a-z].*|unknown.*|missing|nd|n\.d\.|"
    r"not[ _](available|reported|applicable|evaluated|done|mapped|known|assessed|recorded|performed)"
)
_YES: Final = (
    *("yes", "y", "true", "1", "pos", "positive", "present", "dead", "died", "deceased", "expired", "event"),
    *("relapse", "relapsed", "recurrence", "recurred", "progressed", "responder", "case"),
)
_NO: Final = (
    *("no", "n", "false", "0", "neg", "negative", "absent", "none", "alive", "living", "censored", "control"),
    *("no event", "disease free", "non-responder"),
)


def tokens(name: str) -> list[str]:
    """The words of a name, in small letters.

    Examples:
        >>> tokens("readmit_30d"), tokens("SampleID"), tokens("hs-TnT (ng/L)")
        (['readmit', '30', 'd'], ['sample', 'id'], ['hs', 'tn', 't', 'ng', 'l'])
    """
    return re.findall(r"[a-z]+|[0-9]+", _CAMEL.sub("_", name).lower())


def has(name: str, known: tuple[str, ...]) -> bool:
    """Whether a name has one of the words; longer ones also as a part of a word.

    Examples:
        >>> has("hospdead", OUTCOMES), has("person", ("pr", "er")), has("her2_ihc", OUTCOMES)
        (True, False, True)
    """
    lower = _CAMEL.sub("_", name).lower()
    alone = {*tokens(name), *re.findall(r"[a-z0-9]+", lower)}
    return any(word in alone or (len(word) > 3 and word in lower) for word in known)


def unit(name: str) -> str:
    """The unit that a name says, or nothing.

    Examples:
        >>> unit("Creatinine (mg/dL)"), unit("fu_months"), unit("age")
        ('mg/dL', 'months', '')
    """
    if found := _UNIT.search(name):
        return found[1]
    spans = ("days", "months", "years", "weeks", "hours", "minutes")
    return next((word for word in tokens(name) if word in spans), "")


def unknown(value: str) -> bool:
    """Whether a value says that something is not known.

    Examples:
        >>> [unknown(value) for value in ("?", "[Discrepancy]", "Not Reported", "no", "nodal")]
        [True, True, True, False, False]
    """
    return bool(_UNKNOWN.fullmatch(value.strip()))


def no_word(value: str) -> bool:
    """Whether a value that says so is no category at all: a mark, or text in brackets."""
    return not value[:1].isalpha()


def side(value: str) -> bool | None:
    """Whether a value says that something is so, or is not; None: neither.

    Examples:
        >>> side("1:DECEASED"), side("0:LIVING"), side("Yes"), side("no dnr"), side("maybe"), side("0.0")
        (True, False, True, False, None, False)
    """
    text = value.strip().lower()
    text = text.removesuffix(".0")
    if ":" in text and (found := side(text.partition(":")[2])) is not None:
        return found
    if text in _YES or text in _NO:
        return text in _YES
    return False if text.startswith(("no ", "not ", "non-", "without ")) else None


def slug(name: str) -> str:
    """A name as the configuration takes it.

    Examples:
        >>> slug("d.time"), slug("30-day readmission"), slug("Ärzte!"), slug("<30")
        ('d_time', 'x30_day_readmission', 'rzte', 'under_30')
    """
    named = name.replace("<", "under ").replace(">", "over ")
    made = re.sub(r"[^A-Za-z0-9]+", "_", named).strip("_").lower() or "x"
    return made if made[0].isalpha() else f"x{made}"
