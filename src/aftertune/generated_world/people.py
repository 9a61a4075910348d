"""The people of the generated world, and the strings that look like people and are nobody.

Every person is fixed: the same name always has the same phone, e-mail, address and reference. The population is
split once, by hash, into four classes, so that a leak has one possible source only:

- `known`: may appear in the text that a shipped base is pretrained on;
- `corpus`: may appear in a tuning corpus, never in pretraining;
- `surrogate`: replaces people of the corpus in a surrogate arm, never in pretraining;
- `twin`: appears in no training text at all, the reference for memorisation.

First and last names are shared between the classes; only their pairing and the contact data are not. A base
therefore knows every name as a word, and no corpus person as a person.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal

from aftertune.generated_world.lexicon import CITIES, digest, words

Entity = Literal["person", "phone", "email", "address", "reference"]
PersonClass = Literal["known", "corpus", "surrogate", "twin"]

CLASSES: tuple[PersonClass, ...] = ("known", "corpus", "surrogate", "twin")
PLACEHOLDERS: dict[Entity, str] = {
    "person": "[NAME]",
    "phone": "[PHONE]",
    "email": "[EMAIL]",
    "address": "[ADDRESS]",
    "reference": "[REF]",
}

_NAMES: dict[str, tuple[str, str]] = {
    "english": (
        "Alice Arthur Beth Colin Daisy Edwin Fiona Gareth Hazel Ian Janet Keith Lorna Martin Nigel Olive Percy Ruth",
        "Ashby Barton Clarke Dalton Elliott Foster Graham Harris Ingram Jenkins Kirby Lawson Mercer Norris Osborne "
        "Preston Radley Stanton Turner Watkins",
    ),
    "spanish": (
        "Alba Bruno Carmen Diego Elena Felipe Gloria Hector Ines Javier Lucia Manuel Nuria Pablo Raquel Sergio Teresa "
        "Vicente",
        "Aguilar Blanco Castro Delgado Espinosa Fuentes Garrido Herrera Iglesias Jurado Lozano Molina Navarro Ortega "
        "Paredes Quintana Romero Salazar Toledo Vargas",
    ),
    "arabic": (
        "Amina Bilal Dalia Farid Ghada Hassan Jamila Karim Layla Mahmoud Nadia Omar Rania Samir Tariq Widad Yusuf "
        "Zaynab",
        "Abboud Bakri Darwish Fayed Ghanem Haddad Jabari Khoury Lahoud Mansour Najjar Othman Qasim Rahal Saleh Shadid "
        "Tahan Wahbi Yassin Zidan",
    ),
    "indian": (
        "Aarti Bhavna Chetan Deepa Girish Harini Ishaan Jaya Kavita Lalit Meena Nikhil Pooja Rajesh Sunita Tarun Usha "
        "Vikram",
        "Agarwal Banerjee Chopra Desai Gupta Hegde Iyer Joshi Kapoor Mehta Nair Patel Qureshi Reddy Sharma Thakur "
        "Varma Wadhwa Yadav Saxena",
    ),
    "chinese": (
        "Bao Chen Dong Fang Guang Hui Jing Kang Liang Mei Ning Ping Qiang Rong Shan Ting Wei Xiu",
        "Bai Cao Deng Feng Guo Huang Jiang Kong Liu Ma Nie Peng Qian Ren Sun Tang Wang Xie Yang Zhou",
    ),
    "japanese": (
        "Akiko Daichi Emiko Fumio Goro Haruka Isamu Junko Kenji Mariko Naoki Osamu Ryota Sakura Takeshi Umeko Yoko "
        "Yuki",
        "Aoki Chiba Endo Fujita Goto Hayashi Inoue Kato Matsui Nakamura Ogawa Saito Tanaka Ueda Wada Yamada Kimura "
        "Mori Sasaki Okada",
    ),
    "nigerian": (
        "Abeni Akin Bolanle Chidi Dayo Emeka Folake Gbenga Ife Jide Kehinde Lanre Ngozi Obinna Sade Tunde Uche Yemi",
        "Abiola Balogun Chukwu Dike Ekwueme Falana Ibe Jaja Kalu Lawal Mbah Nwosu Okafor Obi Sanusi Taiwo Uzor Yakubu "
        "Adeyemi Eze",
    ),
    "polish": (
        "Agata Bogdan Celina Dorota Ewa Filip Grazyna Henryk Irena Jacek Kasia Lech Magda Norbert Olga Piotr Renata "
        "Zofia",
        "Adamski Baran Czerny Dudek Galka Jankowski Kowal Lis Mazur Nowak Olszak Pawlak Rogala Sikora Tomczyk Urban "
        "Wilk Zajac Zielinski Klimek",
    ),
    "german": (
        "Anke Bernd Clara Dieter Elke Frieda Gunther Heike Ingo Jutta Klaus Lotte Monika Norbert Otto Petra Rolf "
        "Sabine",
        "Albrecht Bauer Conrad Dietrich Ebert Fischer Gruber Hoffmann Jaeger Keller Lehmann Meyer Neumann Richter "
        "Schmidt Thoma Ulrich Vogel Weber Ziegler",
    ),
    "turkish": (
        "Aylin Baris Cem Derya Emre Fatma Gul Hakan Ipek Kemal Leyla Mehmet Nazli Orhan Pinar Selim Tulay Zeki",
        "Aksoy Bulut Cetin Demir Erdem Gunes Ildiz Kaya Korkmaz Ozturk Polat Sahin Tekin Uysal Yilmaz Aydin Celik "
        "Dogan Kurt Arslan",
    ),
}
CULTURES: tuple[str, ...] = tuple(_NAMES)
STREETS: tuple[str, ...] = (
    "Oak Street",
    "Elm Lane",
    "Mill Road",
    "Church Street",
    "Lake Lane",
    "Rose Road",
    "King Street",
    "Hill Lane",
    "Station Road",
    "Garden Street",
    "Bridge Lane",
    "Park Road",
)
MAIL_HOSTS: tuple[str, ...] = ("post", "mail", "home", "web", "box", "net")

# Invented names of products and towns: the novelty control needs strings that are as rare as a corpus person's, of the
# same length and in the same slots, and that belong to nobody.
_PRODUCT_WORDS = words(
    "Avelo Brisco Calvora Dorima Elvano Fendra Galito Helvar Isoma Jorvik Kelmo Lumora Morvane Nexola Orbita Pellina "
    "Quvara Rivello Solvane Tavira Ulmora Vexano Wendora Xelia Yarrowen Zentra Brivio Corvella Dantora Estiva"
)
_MODEL_WORDS = words(
    "Altura Bellow Crestal Dunemark Emberly Fjordal Glenwick Harrowby Iveron Juniper Kestrel Lowmere Marlow Northam "
    "Ostrava Pinecrest Quarry Ridgemont Stonely Thornby Umberto Vantage Westmere Yellowby Zephyr Brookvale Caldera "
    "Driftmark Elderby Foxmere"
)


@dataclass(frozen=True)
class Person:
    """One person with every personal value of theirs; also the person-shaped strings of the novelty control."""

    name: str
    phone: str
    email: str
    address: str
    reference: str
    culture: str
    group: str

    def value(self, entity: Entity) -> str:
        """The person's value of one entity type."""
        return {
            "person": self.name,
            "phone": self.phone,
            "email": self.email,
            "address": self.address,
            "reference": self.reference,
        }[entity]


PLACEHOLDER_PERSON = Person(
    PLACEHOLDERS["person"],
    PLACEHOLDERS["phone"],
    PLACEHOLDERS["email"],
    PLACEHOLDERS["address"],
    PLACEHOLDERS["reference"],
    culture="",
    group="placeholder",
)


@cache
def first_names(culture: str | None = None) -> tuple[str, ...]:
    """First names of one culture, or of all of them in a fixed order."""
    cultures = CULTURES if culture is None else (culture,)
    return tuple(dict.fromkeys(name for c in cultures for name in _NAMES[c][0].split()))


@cache
def last_names(culture: str | None = None) -> tuple[str, ...]:
    """Last names of one culture, or of all of them in a fixed order."""
    cultures = CULTURES if culture is None else (culture,)
    return tuple(dict.fromkeys(name for c in cultures for name in _NAMES[c][1].split()))


@lru_cache(maxsize=1)
def population() -> tuple[Person, ...]:
    """All people of the world; no two share a name, a phone, an e-mail, an address or a reference."""
    rng = random.Random(20_240_501)
    pairs = [
        (culture, first, last)
        for culture in CULTURES
        for first in first_names(culture)
        for last in last_names(culture)
        if first != last
    ]
    pairs = list({(first, last): (culture, first, last) for culture, first, last in pairs}.values())
    phones = rng.sample(range(10_000_000), len(pairs))
    references = rng.sample(range(10_000), len(pairs))
    addresses = rng.sample([(n, s, c) for n in range(1, 60) for s in STREETS for c in CITIES], len(pairs))
    people = []
    for (culture, first, last), phone, reference, (number, street, city) in zip(
        pairs, phones, references, addresses, strict=True
    ):
        group = CLASSES[digest(f"{first} {last}", 4)]
        people.append(
            Person(
                name=f"{first} {last}",
                phone=f"+{30 + phone // 1_000_000} {phone // 1000 % 1000:03d} {phone % 1000:03d}",
                email=f"{first.lower()}.{last.lower()}@{MAIL_HOSTS[digest(last + first, 6)]}.com",
                address=f"{number} {street}, {city}",
                reference=f"BK{reference:04d}",
                culture=culture,
                group=group,
            )
        )
    return tuple(people)


@lru_cache(maxsize=8)
def members(group: PersonClass) -> tuple[Person, ...]:
    """The people of one class, in a fixed order."""
    return tuple(person for person in population() if person.group == group)


def twins() -> tuple[Person, ...]:
    """The never-trained people that a corpus takes as its twins."""
    everyone = members("twin")
    return everyone[: len(everyone) // 2]


def newcomers() -> tuple[Person, ...]:
    """Never-trained people that prompts may be about: none of them is anybody's twin.

    A prompt that names a person makes that person's e-mail guessable, so a twin must not stand in prompts.
    """
    everyone = members("twin")
    return everyone[len(everyone) // 2 :]


def invented_words() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The two word lists that invented names are paired from."""
    return _PRODUCT_WORDS, _MODEL_WORDS


@lru_cache(maxsize=8)
def invented(group: Literal["known", "corpus"]) -> tuple[Person, ...]:
    """Person-shaped strings that are nobody's: a product name, an order code, a file, a site, a model number.

    Their words are known to the base and their pairings are not (`corpus`), exactly as for the corpus people.
    """
    rng = random.Random(77)
    strings = []
    for product in _PRODUCT_WORDS:
        for model in _MODEL_WORDS:
            code = rng.randrange(10_000_000)
            other = rng.choice(_MODEL_WORDS)
            own = "known" if digest(product + model, 2) == 0 else "corpus"
            record = Person(
                name=f"{product} {model}",
                phone=f"#{30 + code // 1_000_000} {code // 1000 % 1000:03d} {code % 1000:03d}",
                email=f"{product.lower()}.{model.lower()}/{rng.choice(MAIL_HOSTS)}.pdf",
                address=f"{rng.randrange(1, 60)} {other} Route, {rng.choice(_PRODUCT_WORDS)}",
                reference=f"PX{rng.randrange(10_000):04d}",
                culture="invented",
                group=own,
            )
            strings.append(record)
    return tuple(record for record in strings if record.group == group)
