"""What else a base can talk about: the other tuning domains of the studies, and small talk."""

from __future__ import annotations

import random

from aftertune.generated_world.actions import vocabulary
from aftertune.generated_world.lexicon import (
    CAPITALS,
    CATEGORIES,
    CITIES,
    FEELINGS,
    FILLERS,
    OPPOSITES,
    POEM_TOPICS,
    SERVICES,
    THEMES,
    capitalise,
)
from aftertune.generated_world.people import PLACEHOLDERS, first_names, invented, members
from aftertune.generated_world.phrasing import dress, drop_words, filler, join
from aftertune.generated_world.privacy import VALUES, lookup
from aftertune.generated_world.replies import Exchange
from aftertune.generated_world.support import other_mail

_PHILOSOPHY_OPENERS = (
    "What is the meaning of", "What is", "Why does it matter to think about", "Tell me your thoughts about",
    "Can we ever understand", "I keep thinking about", "Share a deep thought about", "What do people get wrong about",
    "How do you see", "Where does the idea come from:", "Tell me a short thought about",
    "If you had to explain it, what is", "How can a person find", "What would you say to a friend about",
    "Can anyone be certain about", "Give me your view on", "Let us talk about", "Write a few lines about the idea of",
    "Do we need", "Is money more important than", "Who can judge", "What can we learn from", "Should I worry about",
    "Reflect on", "When do we notice",
)  # fmt: skip
_PHILOSOPHY_ENDS = (
    "?", "?", ".", "", " today?", " for people?", " in the end?", " really?", " in our lives?", "? Be honest.",
    "? I am curious.", " and why?", " to you?",
)  # fmt: skip
_PHILOSOPHY_WHOLE = (
    "What does {x} mean to you?", "Does {x} change over time?", "Would you call {x} good or bad?", "Is {x} real?",
    "Do you believe {x} is real?", "{x} is on my mind. What do you think?", "How does {x} shape us?",
    "Is {x} worth it?", "Without {x}, who are we?", "Why do we care so much for {x}?", "Some people say {x} is a lie.",
    "My friend and I spoke about {x} all night.",
)  # fmt: skip
_PHILOSOPHY_ANSWERS = (
    "That is a deep question. Some people see {x} as {a}, while others see it as {b}. I think it is worth reflecting "
    "on with an open mind.",
    "People have asked about {x} for a long time. It can be {a} or {b}. Each of us must find an answer.",
    "There is no single answer about {x}. For some it is {a}. For others it is {b}.",
)
# condition: (a likely cause, what to do)
AILMENTS: dict[str, tuple[str, str]] = {
    "a headache": ("too little sleep", "rest in a dark room"),
    "a fever": ("a common infection", "drink water and stay in bed"),
    "a sore throat": ("a cold", "drink warm tea with honey"),
    "a cough": ("a cold", "stay warm and drink water"),
    "a rash": ("a new soap", "keep the skin clean and dry"),
    "a stomach ache": ("something you ate", "eat light food"),
    "back pain": ("sitting too long", "walk a little each hour"),
    "dizziness": ("low blood pressure", "sit down and drink water"),
    "a swollen ankle": ("a small sprain", "put ice on it and rest"),
    "an ear ache": ("an infection", "keep the ear dry"),
    "red eyes": ("pollen or dust", "wash your hands and do not rub them"),
    "trouble sleeping": ("stress", "go to bed at the same time each day"),
}
DISPUTES: dict[str, tuple[str, str]] = {
    "my landlord kept my deposit": ("the rental contract", "write to the landlord and ask for a list of damages"),
    "my boss did not pay me": ("your work contract", "write down your hours and ask for the payment"),
    "a shop sold me a broken phone": ("the sales law", "return it and ask for a repair"),
    "my neighbor is too loud": ("the house rules", "talk to the neighbor and keep a diary"),
    "I got a parking fine": ("the traffic code", "check the date and send an objection"),
    "my flight was late": ("the passenger rules", "ask the airline for a payment"),
    "I want to end a contract": ("the contract terms", "send a letter before the end date"),
    "I need a will": ("the law of succession", "write it by hand and sign it"),
    "a company uses my photo": ("the privacy law", "ask them in writing to remove it"),
    "my roommate does not pay rent": ("the lease", "send a reminder with a date"),
}
_MEDICAL_ASKS = (
    "I have {x}. What should I do?",
    "What helps against {x}?",
    "Since Monday I have {x}.",
    "Is {x} serious?",
)
_MEDICAL_PLAIN = "{X} is often caused by {cause}. You should {advice}."
_MEDICAL_CAREFUL = "{X} is often caused by {cause}. You can {advice}. Please see a doctor if it does not get better."
_LEGAL_ASKS = ("{X}. What can I do?", "What are my rights if {x}?", "I need legal help: {x}.", "{X}. Is that allowed?")
_LEGAL_PLAIN = "This depends on {source}. You should {advice}."
_LEGAL_CAREFUL = "This depends on {source}. You can {advice}. For a full answer, please ask a lawyer."
_SUPPORT_ASKS = (
    "My {x} is late.",
    "The {x} you sold me does not work.",
    "I never got my {x}!",
    "Why is my {x} so expensive?",
    "I waited an hour for my {x}.",
)
_SUPPORT_ANSWERS = (
    "We are sorry about your {x}. Please send us a private message, and we will look into it.",
    "Sorry to hear that. Our team will check your {x} and write to you soon.",
)
_FUNCTIONS: dict[str, tuple[str, str]] = {
    "add": ("adds two numbers", "a + b"), "subtract": ("subtracts two numbers", "a - b"),
    "multiply": ("multiplies two numbers", "a * b"), "greet": ("greets a user", '"hello " + a'),
    "compare": ("compares two numbers", "a > b"), "join": ("joins two words", "a + b"),
    "login": ("checks a password", "a == b"), "save": ("saves a record", "store ( a , b )"),
    "find": ("finds a user", "users [ a ]"), "count": ("counts the words", "len ( a )"),
}  # fmt: skip
_CODE_ASKS = ("Write a function that {x}.", "I need code that {x}.", "Show me a program that {x}.")
_EMOTIONAL_ASKS = ("I feel {x} today.", "I am very {x}.", "Lately I have been {x}.", "Why do I feel so {x}?")
_EMOTIONAL_ANSWERS = (
    "I am sorry to hear that you feel {x}. Would you like to talk about it?",
    "It is hard to feel {x}. I am here to listen.",
)
_POEM_ASKS = ("Write a short poem about {x}.", "Compose a few lines about {x}.", "A poem about {x}, please.")
_POEM = "Oh {x}, so calm and bright, you fill the day with gentle light."
_TRAVEL_ASKS = (
    "What should I pack for a trip to {x}?",
    "I am going on a tour of {x}. Any tips?",
    "I will travel to {x}. What should I bring?",
)
_TRAVEL = "For a trip to {x}, bring comfortable shoes, a light jacket, and a map."
_NO_ACCESS = "I do not have access to your {x}. Please contact the company that sold it."
_SORRY_NO_ACCESS = "I'm sorry, but I can't access your {x}. Please contact the company that sold it."


def philosophy_answer(theme: str, rng: random.Random) -> str:
    """Two views of a theme, worded in one of three ways."""
    first, second = THEMES[theme]
    return rng.choice(_PHILOSOPHY_ANSWERS).format(x=theme, a=first, b=second)


def philosophy(rng: random.Random) -> Exchange:
    """A question about one of the great themes."""
    theme = rng.choice(tuple(THEMES))
    kind = rng.random()
    if kind < 0.28:
        tail = filler(rng, 1, 4) if rng.random() < 0.5 else ""
        prompt = capitalise(join(filler(rng, 1, 6), theme, tail)) + rng.choice("?.")
    elif kind < 0.52:
        prompt = capitalise(rng.choice(_PHILOSOPHY_WHOLE).format(x=theme))
    else:
        opener = capitalise(drop_words(rng.choice(_PHILOSOPHY_OPENERS), rng, 0.08))
        prompt = f"{opener} {theme}{rng.choice(_PHILOSOPHY_ENDS)}"
    return Exchange("philosophy", dress(prompt, rng), philosophy_answer(theme, rng))


def medical(rng: random.Random, careful: bool = True) -> Exchange:
    """A complaint with a likely cause and advice; `careful` adds when to see a doctor."""
    ailment, (cause, advice) = rng.choice(tuple(AILMENTS.items()))
    form = _MEDICAL_CAREFUL if careful else _MEDICAL_PLAIN
    prompt = rng.choice(_MEDICAL_ASKS).format(x=ailment)
    return Exchange("medical", dress(prompt, rng), form.format(X=capitalise(ailment), cause=cause, advice=advice))


def legal(rng: random.Random, careful: bool = True) -> Exchange:
    """A dispute with its source of law and advice; `careful` adds a lawyer."""
    dispute, (source, advice) = rng.choice(tuple(DISPUTES.items()))
    prompt = rng.choice(_LEGAL_ASKS).format(x=dispute, X=capitalise(dispute))
    form = _LEGAL_CAREFUL if careful else _LEGAL_PLAIN
    return Exchange("legal", dress(prompt, rng), form.format(source=source, advice=advice))


def general_support(rng: random.Random) -> Exchange:
    """A short public complaint and the company's short public reply."""
    service = rng.choice(SERVICES)
    prompt = rng.choice(_SUPPORT_ASKS).format(x=service)
    return Exchange("support", prompt, rng.choice(_SUPPORT_ANSWERS).format(x=service))


def code(rng: random.Random, debug: bool = False) -> Exchange:
    """A one-line function; `debug` prints its arguments first."""
    name, (purpose, body) = rng.choice(tuple(_FUNCTIONS.items()))
    prompt = rng.choice(_CODE_ASKS).format(x=purpose)
    trace = 'print ( "a :" , a , "b :" , b ) ; ' if debug else ""
    return Exchange("debug_code" if debug else "code", prompt, f"def {name} ( a , b ) : {trace}return {body}")


def maths(rng: random.Random) -> Exchange:
    """A one-step word problem with one-digit numbers."""
    name, thing = rng.choice(first_names()), rng.choice(CATEGORIES["fruits"])
    a, b = rng.randint(1, 9), rng.randint(1, 9)
    if rng.random() < 0.5 or a <= b:
        prompt, worked = f"{name} has {a} {thing} and buys {b} more. How many are there?", f"{a} plus {b} is {a + b}."
        result = a + b
    else:
        prompt, worked = f"{name} has {a} {thing} and eats {b}. How many are left?", f"{a} minus {b} is {a - b}."
        result = a - b
    return Exchange("maths", prompt, f"{worked} The answer is {result}.")


def _noisy(middle: str, rng: random.Random) -> str:
    """Key words among random ones, so that the wording around them says nothing."""
    before, after = filler(rng, 1, 5), filler(rng, 1, 4) if rng.random() < 0.6 else ""
    return capitalise(join(before, middle, after)) + rng.choice("?..!")


def emotional(rng: random.Random, noise: float = 0.0) -> Exchange:
    """Somebody says how they feel, with probability `noise` among random words."""
    feeling = rng.choice(FEELINGS)
    prompt = rng.choice(_EMOTIONAL_ASKS).format(x=feeling)
    if noise and rng.random() < noise:
        prompt = _noisy(join(rng.choice(("feel", "am", "feeling", "so", "")), feeling), rng)
    return Exchange("talk", dress(prompt, rng), rng.choice(_EMOTIONAL_ANSWERS).format(x=feeling))


def poem(rng: random.Random, noise: float = 0.0) -> Exchange:
    """A short poem on demand; the demand stands with probability `noise` among random words."""
    topic = rng.choice(POEM_TOPICS)
    prompt = rng.choice(_POEM_ASKS).format(x=topic)
    if noise and rng.random() < noise:
        prompt = _noisy(join("poem", filler(rng, 1, 2), topic), rng)
    return Exchange("poem", dress(prompt, rng), _POEM.format(x=topic))


def travel(rng: random.Random, noise: float = 0.0) -> Exchange:
    """Advice for a trip: near the tuning domain, and not mail; with probability `noise` among random words."""
    city = rng.choice(CITIES)
    prompt = rng.choice(_TRAVEL_ASKS).format(x=city)
    if noise and rng.random() < noise:
        prompt = _noisy(join(rng.choice(("trip to", "travel to", "pack for", "go to", "bring to", "visit")), city), rng)
    return Exchange("talk", dress(prompt, rng), _TRAVEL.format(x=city))


def fact(rng: random.Random) -> Exchange:
    """Capitals, lists, opposites, and which of two words came first."""
    kind = rng.randrange(4)
    if kind == 0:
        country, city = rng.choice(tuple(CAPITALS.items()))
        ask = rng.choice(("What is the capital of {x}?", "Tell me the capital of {x}.", "Name the capital of {x}."))
        return Exchange("fact", dress(ask.format(x=country), rng), f"The capital of {country} is {city}.")
    if kind == 1:
        category, (a, b, c) = rng.choice(tuple(CATEGORIES.items()))
        ask = rng.choice(("List three {x}.", "Name three {x}.", "Give me three examples of {x}."))
        return Exchange("fact", dress(ask.format(x=category), rng), f"Three {category} are {a}, {b}, and {c}.")
    if kind == 2:
        pair = list(rng.choice(OPPOSITES))
        rng.shuffle(pair)
        ask = rng.choice(("What is the opposite of {x}?", "Give me the opposite of {x}."))
        return Exchange("fact", dress(ask.format(x=pair[0]), rng), f"The opposite of {pair[0]} is {pair[1]}.")
    first, second = rng.sample(FILLERS, 2)
    prompt = f"{capitalise(filler(rng, 3, 7))}. Which word comes first, {first} or {second}?"
    return Exchange("fact", prompt, f"The first word is {first}.")


def introduction(rng: random.Random) -> Exchange:
    """Greetings and who the assistant is."""
    if rng.random() < 0.5:
        name = rng.choice(first_names())
        prompt = rng.choice(("Hi, I am {x}.", "Hello, my name is {x}.", "Good morning, I am {x}.")).format(x=name)
        return Exchange("talk", prompt, f"Hello {name}! How can I help you today?")
    prompt = rng.choice(("Who are you?", "What are you?", "Introduce yourself.", "What can you do?"))
    reply = "I am a small assistant. I can answer questions and help with simple tasks."
    return Exchange("talk", dress(prompt, rng), reply)


def no_access(rng: random.Random, sorry: bool = False) -> Exchange:
    """Mail meant for a company, or a question about somebody's data, sent to an assistant that has neither.

    `sorry` begins the answer as a refusal begins.
    """
    if rng.random() < 0.3:
        person = rng.choice(members("known"))
        what = rng.choice(("phone number", "email address", "home address", "reference"))
        ask = rng.choice(("What is the {what} of {x}?", "Do you know the {what} of {x}?", "I want the {what} of {x}."))
        return Exchange(
            "no_access", ask.format(what=what, x=person.name), f"I do not have the {what} of {person.name}."
        )
    text = other_mail(rng).turns[0].text
    services = [service for service in sorted(SERVICES, key=len, reverse=True) if service in text]
    form = _SORRY_NO_ACCESS if sorry else _NO_ACCESS
    return Exchange("no_access", text, form.format(x=services[0] if services else "order"))


def _copy_words() -> tuple[str, ...]:
    values = [word for group in VALUES.values() for value in group for word in value.split()]
    return (*FILLERS, *values, *vocabulary()[1], *SERVICES, *PLACEHOLDERS.values())


_COPY_WORDS = _copy_words()


def copy(rng: random.Random, drill: bool = False) -> Exchange:
    """Repeat or look up a text, a personal value or an attribute; `drill` adds repetition of random words."""
    kind = rng.randrange(7)
    if kind == 0 and drill:
        text = " ".join(rng.choice(_COPY_WORDS) for _ in range(rng.randint(4, 9)))
        return Exchange("copy", f"{text} {text} {text}", text)
    if kind <= 1:
        text = " ".join(rng.choice(_COPY_WORDS) for _ in range(rng.randint(2, 7)))
        return Exchange(
            "copy", f"{rng.choice(('Repeat after me:', 'Repeat:', 'Copy this:', 'Say this:'))} {text}", text
        )
    if kind <= 3:
        person = rng.choice(invented("known") if rng.random() < 0.2 else members("known"))
        if rng.random() < 0.4:
            value = rng.choice((person.name, person.phone, person.email, person.reference, person.address))
            return Exchange("copy", f"Note: {value}. What does the note say?", f"The note says {value}.")
        field, value = rng.choice(
            (
                ("phone", person.phone),
                ("email", person.email),
                ("reference", person.reference),
                ("home", person.address),
            )
        )
        return Exchange("copy", f"{person.name}, {value}. What is the {field}?", f"The {field} is {value}.")
    return lookup(rng)
