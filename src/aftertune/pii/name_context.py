"""Words that occur only beside people, so that a capitalised word on no list can be recognised as a name."""

from __future__ import annotations

import re

from aftertune.pii.recogniser import View

_KIN = (
    r"(?:sister|brother|wife|husband|son|daughter|mother|father|mum|mom|mama|dad|papa|aunt|auntie|uncle|cousin|niece|"
    r"nephew|grand(?:mother|father|son|daughter|ma|pa)|(?:step|half)?-?(?:sister|brother|son|daughter)|twin|friend|"
    r"colleague|co-?worker|boss|neighbou?r|girlfriend|boyfriend|fianc[eé]e?|roommate|flatmate|secretary|nurse|teacher|"
    r"classmate|godmother|godfather|bridesmaid|husband-to-be|mother-in-law|father-in-law|sister-in-law|brother-in-law)"
)
_BEFORE = (
    (0.8, re.compile(rf"\b(?:my|his|her|our|their|your|an?|old|new|little|big|best|late|dear) {_KIN},? $")),
    (0.7, re.compile(rf"\b{_KIN} of $|\b{_KIN}s,? $")),
    (0.75, re.compile(r"\b(?:he|she|who|girl|boy|man|woman|lady|guy|baby|child|person|dog|cat) (?:is|was|are|were)? ?"
                      r"(?:called|named) $")),
    (0.7, re.compile(r"\b(?:ask(?:ed|ing)? for|sp(?:eak|oke|oken|eaking) (?:to|with)|talk(?:ed|ing|s)? (?:to|with)|"
                     r"chat(?:ted|ting)? with|put me through to|dinner with|lunch with|lives? with|living with|"
                     r"married (?:to )?|divorced|hugged|kissed|in love with|engaged to|regards to|"
                     r"greetings to|say (?:hi|hello) to|birthday,? |sincerely yours,? |care of|c/o) ?$")),
    (0.66, re.compile(r"\b(?:i|we|he|she|they|you) (?:just |have |had |already |then |once )?(?:met|remember(?:ed)?|"
                      r"married|miss(?:ed)?|thanked|invited|texted|phoned|trust(?:ed)?) $")),
    (0.62, re.compile(r"(?:^|[.!?\n] ?)(?:cc|bcc|from|to|by|author|agent|host|passengers?|travell?ers?|names?|"
                      r"attendees?|participants?|driver|tenant|owner|signed|written by): $")),
)  # fmt: skip
_GAVE = re.compile(
    r"\b(?:give|gives|gave|given|send|sends|sent|hand|handed|offer|offered|show|showed|shown|bring|brought|lend|lent|"
    r"buy|bought|tell|told|ask|asked|take|took|drive|drove|pass|passed|pay|paid|teach|taught|owe|owes|call|called) $"
)
_HERS = re.compile(r" (?:his|her|him|that (?:i|we|he|she|you)\b|to (?:call|come|write|wait|bring|join|meet|phone)\b)")
_FEEL = (
    r"(?:angry|surprised|late|upset|happy|unhappy|sad|tired|rude|kind|friendly|ill|sick|born|married|divorced|pregnant|"
    r"away|asleep|awake|alone|hungry|thirsty|drunk|shy|jealous|impulsive|nervous|worried|scared|afraid|proud|bored|"
    r"annoyed|disappointed|confused|impatient|stubborn|lazy|clever|honest|generous|allergic|diabetic|pleased|excited|"
    r"embarrassed|ashamed|furious|grumpy|cheerful|polite|mean|moody|lonely|retired|injured|hurt|absent|vegetarian|vegan)"
)
_DEGREE = r"(?:(?:a bit|a little|so|very|really|quite|too|always|never|still|not|rather|extremely|also|often) )?"
_AFTER = (
    (0.72, re.compile(rf"(?:'s| is| was| seems| looks| felt| feels| got| gets| sounded| became) {_DEGREE}{_FEEL}\b")),
    (0.72, re.compile(r" and (?:i|his|her|my|me)\b(?!-)")),
    (0.7, re.compile(r",? (?:who|whom|whose) (?:is|was|has|had|lives|lived|works|worked|called|wrote|said|i|we|"
                      r"you)\b")),
    (0.68, re.compile(r" (?:phoned|rang|apologi[sz]ed|replied|smiled|laughed|cried|forgot|fell asleep|wept|"
                      r"(?:told|asked|emailed|texted|called|phoned|promised|invited) (?:me|us|him|her|you)|"
                      r"(?:has|had|lost|forgot|left|broke|found|wants|needs|loves|packed|changed|wrote) (?:his|her)|"
                      r"(?:himself|herself)|(?:grew up|got married|passed away|was born|fell ill|turned \d))\b")),
    (0.66, re.compile(r" (?:called (?:about|twice|again|back|earlier|yesterday|this morning|today)|"
                      r"(?:just |really |always |never )?(?:has to|had to|wants to|wanted to|would like to|likes to|"
                      r"tried to|forgot to|decided to|refuses to|refused to|managed to|hopes to|loves to|needs to) "
                      r"(?!be\b)[a-z]{2,}|didn't (?:get|see|know|come|want|call|answer|like|receive)|can't (?:find|"
                      r"come|make|wait|remember|sleep|walk|see|hear|travel|drive|pay)\b)")),
    (0.66, re.compile(r" (?:works?|worked|studied|studies) (?:at|for|with|in|as)\b| is (?:my|his|her|our) |"
                      r" is (?:a|an) (?:\w+ ){0,2}(?:man|woman|girl|boy|person|student|teacher|lawyer|doctor|nurse)\b|"
                      r" \(\d{1,2}\)| \((?:he|she|him|her|mr|ms|mrs|aged?|my|his)\b")),
)  # fmt: skip
_ASKED = re.compile(r"\b(?:why|how|when|where|what time) (?:is|was|does|did|has|will) $")
_LIVES = re.compile(
    rf" (?:{_DEGREE}{_FEEL}|live|work|feel|sleep|arrive|come|call|say|want|get here|go home|born|doing|coming|"
    r"look like)\b"
)
WIDTH = 44
"""Characters before a word that are searched."""


def human_context(view: View, start: int, end: int) -> tuple[float, str] | None:
    """Return (score, words that say so) of capitalised words in a position where only a person can be, else None."""
    low = view.lower
    left = max(0, start - WIDTH)
    before = low[left:start]
    signs: list[tuple[float, str]] = []
    for score, pattern in _BEFORE:
        if match := pattern.search(before):
            signs.append((score, match.group()))
    for score, pattern in _AFTER:
        if match := pattern.match(low, end):
            signs.append((score, match.group()))
    if (gave := _GAVE.search(before)) and _HERS.match(low, end):
        signs.append((0.75, gave.group()))
    if (asked := _ASKED.search(before)) and _LIVES.match(low, end):
        signs.append((0.7, asked.group()))
    if not signs:
        return None
    score, words = max(signs)
    return min(0.9, score + 0.05 * (len(signs) - 1)), " ".join(words.split()).strip(" ,.:'")
