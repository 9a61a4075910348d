"""Presidio's analyzer over a blank spaCy pipeline, with our recognisers: no download, no network."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from aftertune.pii.recognisers import (
    address,
    booking,
    card,
    documents,
    email,
    iban,
    national_id,
    network,
    person,
    phone,
)
from aftertune.pii.recognisers._base import Match, Recogniser, View

ALL: tuple[Recogniser, ...] = tuple(
    module.RECOGNISER
    for module in (email, card, iban, national_id, phone, documents, booking, network, address, person)
)

LANGUAGE = "en"
PIECE = 8_000
"""Characters that are read at once; a longer text is read in pieces, since Presidio compares all it finds in one."""
AROUND = 400
"""Characters on either side of a piece that are read with it, so that a value over its border is found whole."""
_HALF = re.compile("[\ud800-\udfff]")
_TOKEN = re.compile(r"\w{1,64}|[^\w\s]")


@contextmanager
def _without(*packages: str) -> Iterator[None]:
    # Presidio and spaCy load these wherever they are installed, for models that this engine does not have: seconds,
    # and half a gigabyte. What is loaded already stays.
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


@cache
def analyzer() -> Any:
    """Return the engine of this process. Imports Presidio and spaCy on the first call."""
    with _without("torch", "transformers"):
        from presidio_analyzer import (
            AnalysisExplanation,
            AnalyzerEngine,
            EntityRecognizer,
            RecognizerRegistry,
            RecognizerResult,
        )
        from presidio_analyzer.context_aware_enhancers import ContextAwareEnhancer
        from presidio_analyzer.nlp_engine import NlpArtifacts, NlpEngine
        from spacy.lang.en import English
        from spacy.tokens import Doc

    class Tokenizer:
        """Cuts in linear time, also where a text has no blanks; spaCy's own rules do not."""

        def __init__(self, vocab: Any) -> None:
            self.vocab = vocab

        def __call__(self, text: str) -> Any:
            text = _HALF.sub("\ufffd", text)
            spans = [match.span() for match in _TOKEN.finditer(text)]
            ends = [start for start, _ in spans[1:]] + [len(text)] * bool(spans)
            spaces = [end < after for (_, end), after in zip(spans, ends, strict=True)]
            return Doc(self.vocab, words=[text[start:end] for start, end in spans], spaces=spaces)

    class Lazy(NlpArtifacts):
        """What Presidio hands to recognisers; none of ours asks for tokens, which cost a fifth of the time."""

        def __init__(self, text: str, nlp: Any, language: str) -> None:
            self.view = View(text)
            self._nlp = nlp
            nothing: Any = None
            self._tokens = nothing
            super().__init__([], nothing, [], [], nothing, language)

        @property
        def tokens(self) -> Any:
            if self._tokens is None:
                self._tokens = self._nlp.make_doc(self.view.text)
            return self._tokens

        @tokens.setter
        def tokens(self, value: Any) -> None:
            self._tokens = value

    class Blank(NlpEngine):
        """A spaCy pipeline with a tokenizer and nothing else; tokens are made where a recogniser asks for them."""

        def __init__(self) -> None:
            self.nlp: Any = None

        def load(self) -> None:
            self.nlp = English(max_length=10**9)
            self.nlp.tokenizer = Tokenizer(self.nlp.vocab)

        def is_loaded(self) -> bool:
            return self.nlp is not None

        def process_text(self, text: str, language: str) -> Any:
            return Lazy(text, self.nlp, language)

        def process_batch(self, texts: Any, language: str, batch_size: int = 1, n_process: int = 1, **_: Any) -> Any:  # noqa: ARG002
            for text in texts:
                yield text, self.process_text(text, language)

        def is_stopword(self, word: str, language: str) -> bool:  # noqa: ARG002
            return word in self.nlp.Defaults.stop_words

        def is_punct(self, word: str, language: str) -> bool:  # noqa: ARG002
            return not any(char.isalnum() for char in word)

        def get_supported_entities(self) -> list[str]:
            return []

        def get_supported_languages(self) -> list[str]:
            return [LANGUAGE]

    class Ours(EntityRecognizer):
        """Our recognisers behind Presidio's interface: as one, since it takes as long over each as they do."""

        def __init__(self) -> None:
            types = sorted({type_ for one in ALL for type_ in one.types})
            super().__init__(types, name="aftertune", supported_language=LANGUAGE)

        def load(self) -> None:
            pass

        def analyze(self, text: str, entities: list[str], nlp_artifacts: Any) -> list[Any]:  # noqa: ARG002
            return [
                RecognizerResult(
                    match.type,
                    match.start,
                    match.end,
                    match.score,
                    AnalysisExplanation(recogniser.name, match.score, textual_explanation=match.why),
                    {
                        RecognizerResult.RECOGNIZER_NAME_KEY: recogniser.name,
                        RecognizerResult.RECOGNIZER_IDENTIFIER_KEY: self.id,
                    },
                )
                for recogniser in ALL
                for match in recogniser.scan(nlp_artifacts.view)
                if match.type in entities and match.end > match.start
            ]

    class Done(ContextAwareEnhancer):
        """Our recognisers have read the context themselves."""

        def __init__(self) -> None:
            super().__init__(0.0, 0.0, 0, 0)

        def enhance_using_context(self, text: str, raw_results: list[Any], *_: Any, **__: Any) -> list[Any]:  # noqa: ARG002
            return raw_results

    registry = RecognizerRegistry([Ours()], supported_languages=[LANGUAGE])
    return AnalyzerEngine(registry, Blank(), supported_languages=[LANGUAGE], context_aware_enhancer=Done())


def analyse(text: str, types: Collection[str]) -> list[tuple[Match, str]]:
    """Return every candidate of `types` with the name of its recogniser, overlapping ones included.

    The time grows with the length of the text: one of more than `PIECE` characters is read in pieces.
    """
    if len(text) <= PIECE + 2 * AROUND:
        return _analysed(text, types)
    found = []
    for start, end in pieces(text):
        before = max(0, start - AROUND)
        for match, recogniser in _analysed(text[before : end + AROUND], types):
            if start <= match.start + before < end:
                found.append((match._replace(start=match.start + before, end=match.end + before), recogniser))
    return found


_BORDERS = (re.compile(r"\n+"), re.compile(r"[.!?][\"')\]]{0,3}\s+"), re.compile(r"\s+"))
"""Where a text is best cut, best first."""


def pieces(text: str) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of pieces that cover a text, each of at most `PIECE`, cut where lines or sentences end."""
    start = 0
    while len(text) - start > PIECE:
        end = start + PIECE
        for border in _BORDERS:
            cuts = [match.end() for match in border.finditer(text, end - PIECE // 4, end)]
            if cuts:
                end = cuts[-1]
                break
        yield start, end
        start = end
    yield start, len(text)


def _analysed(text: str, types: Collection[str]) -> list[tuple[Match, str]]:
    engine = analyzer()
    with engine.nlp_engine.nlp.memory_zone():
        results = engine.analyze(text, LANGUAGE, sorted(types), return_decision_process=True, score_threshold=0.0)
    return [
        (
            Match(r.start, r.end, r.entity_type, r.score, r.analysis_explanation.textual_explanation),
            r.analysis_explanation.recognizer,
        )
        for r in results
    ]
