"""Capitalised words that read like somebody's name and are a holiday, a make, a figure of speech or a place."""

from __future__ import annotations

import re
from collections.abc import Sequence

from aftertune.pii.name_words import INTRO, SAYS, TITLES, Kind, kind_of
from aftertune.pii.recogniser import View, Word
from aftertune.pii.word_lists import fold, names, words

_LISTED = (
    "santa claus, father christmas, jack frost, mother nature, uncle sam, john bull, uncle ben, aunt jemima, "
    "granny smith, earl grey, jack russell, monte carlo, bloody mary, shirley temple, tom collins, mary jane, "
    "jack daniels, jim beam, johnnie walker, johnny walker, captain morgan, jose cuervo, don julio, dom perignon, "
    "stella artois, harley davidson, mercedes benz, rolls royce, aston martin, alfa romeo, tommy hilfiger, calvin "
    "klein, ralph lauren, hugo boss, louis vuitton, giorgio armani, michael kors, kate spade, jo malone, estee "
    "lauder, mary kay, elizabeth arden, victoria beckham beauty, wells fargo, morgan stanley, merrill lynch, "
    "goldman sachs, charles schwab, john deere, baskin robbins, papa john, papa johns, santa barbara, santa "
    "monica, santa clara, santa fe, victoria falls, tim hortons, burger king, dairy queen, fred perry, jack "
    "wolfskin, betty crocker, raspberry pi, simon says, jack o lantern, june bug, bobby pin, peter pan collar, "
    "murphy bed, catherine wheel, teddy bear, guy fawkes, cinco de mayo, mr muscle, mr kipling, mr clean, mr "
    "whippy, mr coffee, mr potato head, ms pac man, dr martens, dr oetker, dr scholl, dr scholls, dr dre, dr "
    "pepper, carl zeiss, levi strauss, trader joe, trader joes, alfa romeo giulia, romeo giulia, romeo "
    "giulietta, rolls royce phantom, royce phantom, royce ghost, jp morgan, jp morgan chase, morgan chase, "
    "doctor who, dr who, aunt bessie, captain america, lady gaga tour"
)
_PHRASES = frozenset(map(str.strip, _LISTED.split(",")))
_LISTED_FIRMS = (
    "ben & jerry, marks & spencer, ernst & young, baker & mckenzie, harry & david, tom & jerry, wallace & gromit, "
    "thelma & louise, crabtree & evelyn, jack & jones, bath & body, dave & buster, simon & garfunkel, rick & morty, "
    "romeo & juliet, bonnie & clyde, adam & eve, hansel & gretel, penn & teller, mike & ike, taylor & francis, "
    "simon & schuster, pratt & whitney, will & grace, starsky & hutch, gilbert & sullivan, frankie & benny, "
    "fortnum & mason, rodgers & hammerstein, lilo & stitch, abercrombie & fitch, dolce & gabbana, harvey & nichols"
)
_FIRMS = frozenset(map(str.strip, _LISTED_FIRMS.split(",")))
"""Companies, shows and pairs of stories whose names are two names; of any two family names it is assumed."""
_CHAINS = words(
    "wendy denny macy levi mcdonald lay reese kellogg domino hershey sainsbury arby hardee culver nando chili applebee "
    "lowe kohl dillard sotheby christie moody lloyd smucker campbell newman tiffany bloomingdale barney selfridge "
    "harrod waterstone blackwell popeye zaxby wetherspoon morrison luby bojangle"
)
_GOODS = (
    r"(?:(?:cheese)?burgers?|fries|fry|nuggets?|menus?|drive[- ]th(?:ru|rough)|restaurants?|breakfast|jeans|denim|"
    r"soups?|crisps|chips|cereals?|corn ?flakes|cookies|ice[- ]creams?|pizzas?|sandwich(?:es)?|milk ?shakes?|coupons?|"
    r"gift ?cards?|vouchers?|stores?|outlet|franchises?|shares|stocks?|frost(?:y|ies)|peanut butter|chocolates?|"
    r"dressing|auctions?|ratings?)\b"
)
_SHOPS = re.compile(
    r"(?:victoria's secret|sam's club|carl's jr|dick's sporting|papa john's|jimmy john's|trader joe's|amy's kitchen|"
    r"annie's homegrown|tony's chocolonely|claire's accessories|uncle ben's|aunt jemima's|lloyd's of london)"
)
"""Shops and makes whose first word is more often somebody's name."""
_CHAIN_NEXT = re.compile(rf"['\u2019]s? (?:\w+ )?{_GOODS}")
_AT_CHAIN = re.compile(r"\b(?:at|from|in|near|to|opposite|outside|the|a) $")
_ALONE = re.compile(r"['\u2019]s(?=[.,;:!?)\n]|$| (?:and|or|on|in|near|at|for|this|today|yesterday|last|is|was|has)\b)")
_AND_NEXT = re.compile(r"(?:['\u2019]s)? ?& ?([^\W\d_][\w-]+)")
_AND_BEFORE = re.compile(r"([^\W\d_][\w-]+)(?:['\u2019]s)? ?& ?\Z")
"""Makes, drinks, apples, dogs and figures of speech that are a given and a family name by the lists."""
_HOLIDAY = words("day eve night weekend week monday tuesday wednesday thursday friday saturday sunday")
_FEAST = words(
    "may april june august march january july september october november december christmas boxing victoria easter new "
    "mother mothers father fathers labor labour memorial valentines patricks georges andrews davids anzac bastille "
    "canada australia columbus election earth groundhog flag independence republic leap pancake bonfire burns "
    "halloween epiphany prom opening laundry pay pride field"
)
"""First words of holidays and other named days; `Doris Day` is a person."""
_NAMED_DAY = re.compile(r"(?:['\u2019]s?)? (?:Day|Night|Eve|Weekend)\b")
"""After the name of whom a day is named after: `Robert Burns Night`."""
_CITIES = words(
    "savannah jackson lincoln buffalo madison houston dallas denver brooklyn chelsea bristol preston lancaster lincoln "
    "hamilton wellington darwin melbourne adelaide nelson windsor lawrence jefferson montgomery columbus cleveland "
    "raleigh durham charleston bradford burlington clifton clinton dayton dover fargo franklin kent laramie "
    "lexington marion milton orlando paris quincy salem tyler trenton troy warren wayne"
)
"""Towns that are people's names as well, beside those among the places."""
_NAMES = frozenset(("april", "june"))
"""Months before `Day` that are more often somebody's name."""
_THING_NEXT = re.compile(
    r"(?:'s)? (?:architectures?|algorithms?|theorems?|lemma|inequality|conjecture|distributions?|chains?|transforms?|"
    r"equations?|syndrome|disease|terriers?|spaniels?|apples?|airport|stadium|arena|prize|awards?|medal|foundation|"
    r"institute|scholarship|bridge|boulevard|turnpike|peninsula|harbou?r|metro|peaches)\b"
)
_PLACE_BEFORE = re.compile(
    r"\b(?:capital|city|town|country|kingdom|republic|state|government|embassy|king|queen|president|people|economy|"
    r"river|borders?|map|north|south|east|west|coast|rest|parts?) (?:of|with) (?:the )?$|"
    r"\b(?:flights?|flew|fly|flying|trips?|tours?|travel(?:l?ed|l?ing)?|visas?|roaming|trains?|bus(?:es)?|coach(?:es)?|"
    r"ferry|ferries|moved?|moving|relocat\w+|drive|drove|driving|commut\w+|hotels?|hostels?|weather|forecast|"
    r"temperatures?|mayor|suburbs?|outskirts|residents?|streets?|skyline|university|museums?|airport|population|journeys?|cruises?|"
    r"tickets?) (?:to|from|in|for|around|of|between) $"
)
_TRUST = re.compile(
    r"\b(?:believ\w+|trust\w*|confiden\w+|faith|interest\w*|disappoint\w*|hope|pride|confid\w+|see|saw|changes?|"
    r"potential|invest\w*|joy|love|qualities|anger) in $"
)
_IN = re.compile(r"(?<![\w-])(?:in|across|throughout|near downtown|downtown|greater) $")
_LINKED = re.compile(r"([^\W\d_a-z][^\W\d_]+)(?:,|,? and|,? or|,? to) \Z")
_PLACE_AFTER = re.compile(
    r" (?:is|was) (?:an?|the) (?:\w+ ){0,2}(?:country|city|state|kingdom|capital|town|republic|province|nation)\b|"
    r" (?:river|harbou?r|metro|texas|border|valley|exports?|imports?|borders)\b|"
    r", (?:lebanon|syria|iraq|egypt|israel|niger|armenia|texas|virginia|france|italy)\b|"
    r"'s (?:capital|government|economy|king|president|border|coast|parliament)\b"
)
_SOFTWARE = words(
    "ruby perl julia jasmine jenkins ada swift scala jasper vera pascal elm crystal dart travis luigi puppet chef "
    "sierra mojave catalina monterey ventura sonoma siri alexa cortana bixby"
)
_SOFTWARE_NEAR = re.compile(
    r"\b(?:python|java(?:script)?|rails|django|docker|kubernetes|deploy(?:ed|s|ing)?|github|gitlab|npm|typescript|node|php|"
    r"rust|golang|sql|api|backend|frontend|frameworks?|codebase|compilers?|programming|scripts?|unit tests?|software|"
    r"macos|versions?|upgrad\w+|smart speakers?|voice assistants?|amazon|echo|hey|ok)\b"
)
_MODELS = r"\b(?:chatgpt|gpt-?\d\w*|llama|gemini|mistral|copilot|openai|anthropic|chatbots?|language models?|llms?)\b"
_MODEL_NEAR = re.compile(_MODELS)
_MODEL_NAMES = words("claude llama gemini mistral")
_INNER_CAPITAL = re.compile(
    r"(?!(?:Mc|Mac|De|Di|Du|Da|La|Le|Lo|Van|Von|Fitz|Al|El|Ab|Bin|Ben|St|San|O|D)[A-Z])(?=\w{5})\w*[a-z][A-Z]"
)
_NEXT = re.compile(r" ([^\W\d_]+)")
_BESIDE = re.compile(r"([^\W\d_a-z][^\W\d_]+)(?:,| and|, and| or) \Z")
"""A capitalised word before one in a list."""
_MAKERS = words(
    "lenovo asus acer xiaomi huawei oneplus oppo realme logitech garmin fitbit gopro roku sonos jbl bose philips "
    "electrolux miele bosch siemens grundfos dyson tefal krups delonghi nespresso samsung nokia sony motorola toshiba "
    "epson canon nikon toyota honda hyundai mazda nissan subaru volkswagen renault peugeot citroen skoda opel fiat "
    "chrysler dodge jeep lexus kia adobe microsoft google netflix spotify nintendo playstation ikea nike adidas puma"
)
"""Makers before the names of their products."""
_MODAL = frozenset(("will", "may"))
_WHOSE = frozenset(("my", "your", "our", "his", "her", "their"))
_VERB = re.compile(r" (?!(?:is|was|has|had|and|or)\b)[a-z]+(?<!ed)(?<!s)\b[^.!\n]{0,80}\?")


def is_thing(view: View, run: Sequence[tuple[Word, Kind]], title: str | None) -> bool:
    """Return whether capitalised words name no person. `title` is the word before them that is a title."""
    folded = [kind.folded.replace("'", "") for _, kind in run]
    whole = " ".join(folded).replace("-", " ")
    if title:
        return f"{title} {whole}" in _PHRASES
    start, end = run[0][0].start, run[-1][0].end
    after = _NEXT.match(view.lower, end)
    thing = (
        whole in _PHRASES
        or (" ".join(folded[:2]) in _PHRASES and len(run) > 2 and set(folded[2:]) <= _HOLIDAY)
        or (len(run) > 1 and _NAMED_DAY.match(view.text, end) is not None)
        or (len(run) == 1 and (_in_firm(view, start, end) or _is_chain(view, folded[0], start, end)))
        or (after is not None and f"{whole} {after[1]}" in _PHRASES)
        or any(not _plain_case(word.text) and not _known(kind) for word, kind in run)
        or (len(run) > 1 and (folded[0] in _MAKERS or _is_day(view, run, folded)))
        or (
            _THING_NEXT.match(view.lower, end) is not None and (len(run) > 1 or run[0][1].family or not run[0][1].given)
        )
        or (len(run) == 1 and _in_other_company(view, folded[0], start, end))
    )
    return thing and not INTRO.search(view.lower, max(0, start - 40), start)


def _plain_case(word: str) -> bool:
    """Return whether no capital stands inside a word where no name has one (`ChatGPT`, `PayPal`)."""
    return word[1:].islower() or not _INNER_CAPITAL.match(word)


def _is_day(view: View, run: Sequence[tuple[Word, Kind]], folded: Sequence[str]) -> bool:
    """Return whether the words are a holiday's; `Doris Day` and `Victoria Day said` are people."""
    if folded[-1] not in _HOLIDAY or (run[0][1].given and SAYS.match(view.lower, run[-1][0].end)):
        return False
    owned = view.text[run[0][0].end : run[0][0].end + 2] in ("'s", "\u2019s")
    if len(folded) > 2 and not run[-2][1].given:  # `Harvey Milk Day`, and no `Mary Ann Day`
        return True
    named = folded[0] in _FEAST and not (folded[0] in _NAMES and folded[-1] == "day")
    return named or owned or not run[0][1].given or folded[:3] == ["martin", "luther", "king"]


def _in_other_company(view: View, folded: str, start: int, end: int) -> bool:
    """Return whether a single name stands among models, software or countries."""
    if folded in _MODEL_NAMES:
        return _near(view, _MODEL_NEAR, start, end)
    if folded in _SOFTWARE:
        return _near(view, _SOFTWARE_NEAR, start, end)
    if not _is_place(folded):
        return False
    if view.text[end : end + 2] not in ("'s", "\u2019s") and _is_where(view, start):
        return True
    if (other := _BESIDE.search(view.text, max(0, start - 32), start)) and not _known(kind_of(other[1])):
        return fold(other[1]) in names("places")
    return _PLACE_AFTER.match(view.lower, end) is not None or view.cue(_PLACE_BEFORE, start, 40) is not None


def _is_place(folded: str) -> bool:
    return folded in names("places") or folded in _CITIES


def _is_where(view: View, start: int) -> bool:
    """Return whether a name that is also a place's stands where places do: `in X`, `flights to X and Y`."""
    while (other := _LINKED.search(view.text, max(0, start - 40), start)) and _is_place(fold(other[1])):
        start = other.start()
    if view.cue(_IN, start, 20) is not None:
        return view.cue(_TRUST, start, 24) is None
    return view.cue(_PLACE_BEFORE, start, 40) is not None


def _in_firm(view: View, start: int, end: int) -> bool:
    """Return whether a name is half of a company's or a show's, or of any two family names with `&` between them."""
    if match := _AND_NEXT.match(view.text, end):
        pair, close = (view.text[start:end], match[1]), match.end()
    elif match := _AND_BEFORE.search(view.text, max(0, start - 40), start):
        pair, close = (match[1], view.text[start:end]), end
    else:
        return False
    first, last = (kind_of(re.sub(r"['\u2019]s$", "", word)) for word in pair)
    if f"{first.folded} & {last.folded}" in _FIRMS or first.folded == last.folded:
        return True
    families = all(
        _known(kind) and not kind.given and word[0].isupper() for kind, word in zip((first, last), pair, strict=True)
    )
    return families and not {first.folded, last.folded} & TITLES and not SAYS.match(view.lower, close)


def _is_chain(view: View, folded: str, start: int, end: int) -> bool:
    """Return whether a name with an `s` is that of a shop, a restaurant or a make: by its goods, or where one goes."""
    if _SHOPS.match(view.lower.replace("\u2019", "'"), start):
        return True
    if folded not in _CHAINS:
        return False
    shop = _ALONE.match(view.text, end) is not None and view.cue(_AT_CHAIN, start, 12) is not None
    return shop or _CHAIN_NEXT.match(view.lower, end) is not None


def _near(view: View, pattern: re.Pattern[str], start: int, end: int) -> bool:
    return pattern.search(view.lower, end, end + 60) is not None or view.cue(pattern, start) is not None


def _known(kind: Kind) -> bool:
    return kind.given or kind.family or kind.ending


def begins_with_word(view: View, run: Sequence[tuple[Word, Kind]]) -> bool:
    """Return whether the first of the words at the beginning of a sentence is none of the name.

    It is the verb of a question (`Will Rose come?`) or says whose (`My French passport`).
    """
    if len(run) < 2:
        return False
    asked = run[0][1].folded in _MODAL and _VERB.match(view.text, run[-1][0].end) is not None
    return asked or run[0][1].folded in _WHOSE
