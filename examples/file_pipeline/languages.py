"""Languages: which one a text is written in.

The model is part of the package ``py3langid``. To load it takes half a second and 80 MB, once for a
process, when the first text comes.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import attrs

UNKNOWN = "und"
"""The code of what cannot be told. "zxx" is that of what is no language, such as numbers."""
SAMPLE = 4_000
"""Characters of a text that are looked at."""
LETTERS = 20
"""Letters there must be among them to tell."""
SURE = 0.5
"""The least confidence with which a language is told."""


@attrs.frozen
class Language:
    """A language by its code of ISO 639, such as "en", and how sure that is, from 0 to 1."""

    code: str
    confidence: float


def language_of(text: str) -> Language:
    """Tell the language of a text by its beginning: always the same one for the same text."""
    sample = text[:SAMPLE]
    if sum(map(str.isalpha, sample)) < LETTERS:
        return Language(UNKNOWN, 0.0)
    code, confidence = identifier().classify(sample)
    confidence = round(float(confidence), 4)
    return Language(str(code) if confidence >= SURE else UNKNOWN, confidence)


@cache
def identifier() -> Any:
    """The model, read once."""
    from py3langid.langid import (  # pyright: ignore[reportMissingTypeStubs]
        MODEL_FILE,
        LanguageIdentifier,
    )

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
