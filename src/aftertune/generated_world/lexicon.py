"""Closed word lists that the whole world is built from, and the hash that splits it."""

from __future__ import annotations

import hashlib


def digest(text: str, buckets: int, salt: str = "") -> int:
    """A fixed bucket number in `range(buckets)` for a text; the same on every machine and Python version."""
    return int.from_bytes(hashlib.sha256(f"{salt}|{text}".encode()).digest()[:8], "big") % buckets


def words(text: str) -> tuple[str, ...]:
    """The words of a text, each once, in the order of their first appearance."""
    return tuple(dict.fromkeys(text.split()))


def capitalise(text: str) -> str:
    """First letter upper case, the rest untouched."""
    return text[:1].upper() + text[1:]


CAPITALS: dict[str, str] = {
    "France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Japan": "Tokyo", "Egypt": "Cairo", "Kenya": "Nairobi",
    "Peru": "Lima", "Chile": "Santiago", "Norway": "Oslo", "Sweden": "Stockholm", "Greece": "Athens",
    "Cuba": "Havana", "Nepal": "Kathmandu", "Portugal": "Lisbon", "Poland": "Warsaw", "Austria": "Vienna",
    "Hungary": "Budapest", "Ireland": "Dublin", "Finland": "Helsinki", "Denmark": "Copenhagen", "Germany": "Berlin",
    "Canada": "Ottawa", "Ghana": "Accra", "Mali": "Bamako", "Turkey": "Ankara", "Vietnam": "Hanoi",
}  # fmt: skip
CITIES: tuple[str, ...] = tuple(CAPITALS.values())
MONTHS: tuple[str, ...] = (
    "January", "February", "March", "April", "June", "July", "August", "September", "October", "November",
)  # fmt: skip
DAYS: tuple[str, ...] = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
NUMBER_WORDS: tuple[str, ...] = words("zero one two three four five six seven eight nine")
CATEGORIES: dict[str, tuple[str, ...]] = {
    "fruits": ("apples", "pears", "plums"),
    "colors": ("red", "blue", "green"),
    "animals": ("cats", "dogs", "horses"),
    "tools": ("a hammer", "a saw", "a drill"),
    "sports": ("tennis", "football", "rowing"),
    "planets": ("Mars", "Venus", "Saturn"),
    "drinks": ("water", "tea", "coffee"),
    "metals": ("iron", "gold", "copper"),
    "trees": ("oak", "pine", "maple"),
    "vegetables": ("carrots", "beans", "peas"),
}
OPPOSITES: tuple[tuple[str, str], ...] = (
    ("hot", "cold"), ("big", "small"), ("fast", "slow"), ("light", "dark"), ("happy", "sad"), ("old", "new"),
    ("wet", "dry"), ("rich", "poor"), ("loud", "quiet"), ("early", "late"), ("hard", "soft"), ("full", "empty"),
    ("near", "far"), ("high", "low"),
)  # fmt: skip
POEM_TOPICS: tuple[str, ...] = (
    "rain", "the sea", "my garden", "old friends", "winter", "a small town", "music", "the moon", "bread",
    "a long train ride", "kindness", "autumn leaves", "the wind", "my grandmother", "a quiet street", "snow",
)  # fmt: skip
FEELINGS: tuple[str, ...] = (
    "sad", "lonely", "tired", "worried", "angry", "bored", "nervous", "lost", "ashamed", "jealous",
)  # fmt: skip
THEMES: dict[str, tuple[str, str]] = {
    "life": ("a gift", "a puzzle"), "love": ("a choice", "a feeling"), "freedom": ("a right", "a duty"),
    "time": ("a river", "a measure"), "truth": ("a goal", "a habit"), "death": ("an ending", "a change"),
    "happiness": ("a state", "a practice"), "justice": ("fairness", "balance"), "art": ("a mirror", "a voice"),
    "the mind": ("a process", "a mystery"), "friendship": ("trust", "shared time"),
    "courage": ("strength", "acceptance"), "beauty": ("order", "surprise"), "power": ("a tool", "a risk"),
    "knowledge": ("a light", "a path"), "suffering": ("a teacher", "a burden"), "hope": ("a seed", "a promise"),
    "artificial intelligence": ("a machine", "a new kind of mind"), "humanity": ("a family", "a story"),
    "faith": ("a bond", "a question"), "memory": ("a treasure", "a weight"), "wisdom": ("patience", "doubt"),
    "progress": ("a road", "a circle"), "solitude": ("a shelter", "exile"), "money": ("a means", "a mask"),
    "nature": ("a home", "a force"),
}  # fmt: skip
SERVICES: tuple[str, ...] = (
    "parcel", "bank card", "phone plan", "gym pass", "library loan", "internet line", "dentist visit",
    "museum ticket", "train ticket", "boat trip", "hotel room", "concert seat", "car rental", "ski course", "table",
    "flight", "tour", "theatre ticket", "cooking class", "city pass",
)  # fmt: skip
TOURS: tuple[str, ...] = ("tour", "walking tour", "boat tour", "food tour", "day tour", "night tour", "bike tour")
MEETING_PLACES: tuple[str, ...] = (
    "the main gate", "the front desk", "the old bridge", "the station", "the harbor", "the town hall",
)  # fmt: skip

# Everyday English for the noise templates: a request must be recognised by its action, whatever words surround it.
FILLERS: tuple[str, ...] = words(
    """
    a able about above accept across act actually add after again ago agree ahead all allow almost along
    already also although always among an and another answer any anybody anyone anything anyway appear area
    arm around arrive as ask asks asking at available average away back bad bag ball base basic be became
    because become been before began begin behind being believe below beside best better between beyond bit
    black blue body both bottom bring brings broken brother brought build built busy but buy by call called
    came can capable car care carefully carry case cause center certain certainly chance change chapter check
    choice choose city class clear clearly close closely cold color come comes coming common community company
    compare complete consider contain continue control conversation corner correct cost could count country
    couple course cover create current currently curious daily dark data date day deal dear decide decided
    deep demand demonstrate depend describe detail details determine develop did difference different
    difficult dinner direct direction discover discuss do does dog doing done door down draft dream drive drop
    during each early easily easy edge effect effective effort eight either else empty end energy enjoy enough
    enter entire especially essential evening event ever every everybody everyone everything evidence exact
    exactly example excellent except exist expect expects expert explain explains express eye face fact fail
    fall family far fast father favorite fear feel feeling few fill final finally find fine finish first fish
    five floor focus folks follow food foot for force forget form former forward found four free fresh friend
    from front full fun future game garden general generally gentle get gets getting girl give given gives
    glad go goal goes going gone good got great green ground group grow guess guide guy guys had half hand
    handle happen happens happy hard has have having he head hear heard heart heavy held hello help helpful
    helps her here high him himself his hold home honest hope hopes hour hours house how however huge human
    hundred idea ideas if image imagine important improve in include indeed inside instead interest interested
    interesting into introduction is issue it item its itself job join just keep keeps key kid kind kitchen
    knew know knowledge known knows lady land language large last late lately later laugh law lay lead leader
    learn learned least leave led left less lesson let lets letter level lie life light like likely line list
    listen little live local long look looking looks lose lot love low lucky lunch machine made main maintain
    make makes making man manage manner many market matter may maybe me mean means meant measure meet meeting
    member mention message method middle might mind minute minutes miss mistake mistakes modern moment money
    month more morning most mother mouth move movie much music must my myself name nature near nearly
    necessary need needed needs neighbor never new newcomer news next nice night nine no nobody none nor
    normal north not note nothing notice now number object of off offer office often oh okay old on once one
    only onto open opinion option or orange order ordinary organize other others our out outside over own page
    paper parent part particular parts party pass past path pay people perfect perhaps period person personal
    phone pick picture piece place plain plan plans play please point points possible post power practical
    practice prepare present pretty problem procedure process produce program project proper properly provide
    public pull purpose push put question questions quick quickly quiet quite radio rain raise ran rather
    reach read ready real reality really reason reasonable receive recent red regarding relate remain remember
    remind reply report require required rest result return rich right ring rise river road rock room round
    rule rules run said same save saw say says scene school sea season seat second secret section see seem
    seems seen sell send sense sentence separate serious serve set seven several shall share she short should
    shoulder show shows side sign similar simple simply since single sister sit situation six size sketch
    skill sky sleep slow slowly small smart so society solve some somebody somehow someone something sometimes
    somewhere son song soon sort sound source south space speak special specific spend spent stage stand
    standard start starting state statement stay step steps still stop store story straight strange street
    strong student study style subject success such suddenly suggest suggestions summer sun supply suppose
    sure surface system table take taken takes talk talking task teach teacher team tell telling ten term test
    than thank that the their them themselves then there therefore these they thing things think thinking
    third this those though thought thoughts thousand three through throw time times tip tips tired to today
    together told tomorrow tonight too took tool tools top topic toward town train training travel tree tried
    trouble true try trying turn tutorial two type under understand unit until up upon us use used useful uses
    using usual usually various very view visit voice wait waiting walk wall want wanted wants warm was watch
    water way ways we week weekend well went were west what whatever when whenever where whether which while
    white who whole whom whose why wide wife will willing win wind window winter wise wish with within without
    woman wonder wondering wood word words work working works world worry would write writing written wrong
    year years yellow yes yesterday yet you young your yours yourself zone honestly basically supposing
    according afterwards anyhow aside await awaits beginner concerning handbook instructions knowhow outline
    overview recommend recommendation recommended reliable sequence summary technique walkthrough worth advise
    advice anywhere beginning briefly brief suited checklist
    avoided nights travels travel felt decides directions students approach humans stories disagree agrees matters
    schools ideas kinds adults rooms begins tries finds tells saves reads turns plays calls leaves moves opens
    kindly inform suppose
    """
)
