"""Identity numbers: each country's own examples, near-misses, and where we differ from python-stdnum on purpose."""

from __future__ import annotations

import pytest
from stdnum.cn import ric
from stdnum.kr import rrn
from stdnum.us import itin

from aftertune.pii.detect import find
from aftertune.pii.recognisers import iban, national_id

EXAMPLES = {
    "US social security number": ("SSN", "308-63-0237", "308-63-0000"),
    "US taxpayer number": ("ITIN", "912-90-3456", "912-93-3456"),
    "UK NHS number": ("NHS", "943 476 5919", "943 476 5918"),
    "Canadian social insurance number": ("SIN", "123-456-782", "123-456-783"),
    "Spanish DNI or NIE": ("DNI", "54362315K", "54362315Z"),
    "Italian codice fiscale": ("codice fiscale", "RCCMNL83S18D969H", "RCCMNL83S18D969I"),
    "French social security number": ("sécu", "2 95 10 99 126 111 93", "2 95 10 99 126 111 94"),
    "German tax number": ("Steuer-ID", "36 574 261 809", "36 574 261 890"),
    "Dutch BSN": ("BSN", "1112.22.333", "1112.52.333"),
    "Polish PESEL": ("PESEL", "44051401359", "44051401358"),
    "Swedish personnummer": ("personnummer", "880320-0016", "880320-0018"),
    "Finnish identity code": ("HETU", "131052-308T", "131052-308U"),
    "Norwegian identity number": ("fødselsnummer", "151086 95088", "151086 95077"),
    "Danish CPR number": ("CPR", "211062-5629", "311162-5629"),
    "Belgian national number": ("INSZ", "85.07.30-033.28", "85.07.30-033.29"),
    "Portuguese NIF": ("NIF", "501 964 843", "501 964 842"),
    "Brazilian CPF": ("CPF", "390.533.447-05", "390.533.447-06"),
    "Chilean RUT": ("RUT", "12.531.909-2", "12.531.909-3"),
    "Indian Aadhaar": ("Aadhaar", "2341 2341 2346", "2341 2341 2347"),
    "Indian PAN": ("PAN", "ACUPA7085R", "ACUPA0000R"),
    "Chinese identity number": ("resident", "360426199101010071", "360426199101010072"),
    "Korean registration number": ("RRN", "971013-1019902", "971313-1019902"),
    "Singaporean NRIC": ("NRIC", "S1234567D", "S1234567A"),
    "Australian tax file number": ("TFN", "123 456 782", "123 456 783"),
    "Australian Medicare number": ("medicare", "2123 45670 1", "2123 45671 1"),
    "South African identity number": ("RSA", "750330 5044 089", "913033 5044 089"),
    "Turkish identity number": ("kimlik", "17291716060", "17291716061"),
    "Israeli identity number": ("teudat zehut", "039337423", "039337422"),
    "Mexican CURP": ("CURP", "BOXW310820HNERXN09", "BOXW310820HNERXN08"),
    "Japanese My Number": ("My Number", "6214 9832 0257", "6214 9832 0258"),
    "Swiss AHV number": ("AHV", "756.9217.0769.85", "756.9217.0769.84"),
}
"""Name -> (its word, a valid number from the documentation of the country or of stdnum, one that cannot be)."""


def whys(text: str) -> list[str]:
    return [one.why for one in find(text, ["NATIONAL_ID"], {"NATIONAL_ID": 0.3})]


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_number_is_found_after_its_word_and_a_near_miss_is_not(name: str) -> None:
    word, right, wrong = EXAMPLES[name]
    if name != "Israeli identity number":  # another country's number can have the same digits
        assert [why.split(";")[0] for why in whys(f"{word} {right}")] == [name]
    assert find(f"{word} {right}", ["NATIONAL_ID"])
    assert not [why for why in whys(f"{word} {wrong}") if why.startswith(f"{name};")], "only as a slip, if at all"


def test_every_number_with_check_digits_has_an_example() -> None:
    checked = {number.name.removesuffix(", no separators") for number in national_id._NUMBERS if number.valid}
    assert checked == set(EXAMPLES)


@pytest.mark.parametrize(
    ("word", "number", "why"),
    [
        ("SSN", "078-05-1120", "printed on wallet inserts, voided by the SSA"),
        ("SSN", "123-45-6789", "the example in forms"),
        ("PESEL", "02513146861", "31 November"),
        ("CPR", "301249-5259", "born in 2049"),
        ("codice fiscale", "RPOMIP34L79B981X", "the 79th of July"),
        ("Steuer-ID", "38962039792", "two digits repeated, one may be"),
        ("fødselsnummer", "07108889661", "individual numbers from 750 were not given out in 1988"),
        ("CPF", "111.111.111-11", "right check digits, given to nobody"),
        ("Aadhaar", "7528 4554 8257", "a palindrome"),
    ],
)
def test_what_was_never_issued_is_at_most_a_slip(word: str, number: str, why: str) -> None:
    assert not [one for one in whys(f"{word} {number}") if "wrong check digits" not in one], why


def test_a_coordination_number_is_swedish() -> None:
    assert whys("personnummer 701063-2391") == ["Swedish personnummer; context 'personnummer'"]
    assert "wrong check digits" in whys("personnummer 701063-2392")[0]
    assert "wrong check digits" in whys("personnummer 701095-2390")[0], "the 35th"


def test_numbers_that_stdnum_refuses_wrongly() -> None:
    assert not itin.is_valid("912-55-3456"), "if stdnum knows these groups now, use it"
    assert whys("ITIN 912-55-3456")[0].startswith("US taxpayer number;")
    assert not rrn.is_valid("210315-3123456"), "it wants a check digit, which there is none of since October 2020"
    assert whys("RRN 210315-3123456")[0].startswith("Korean registration number;")
    with pytest.raises(KeyError):
        ric.is_valid("119999199003012310"), "if stdnum no longer fails here, use it"
    assert whys("resident 119999199003012310")


def test_digits_of_other_scripts_count() -> None:
    wide = "6214 9832 0257".translate({ord(str(n)): chr(0xFF10 + n) for n in range(10)})
    assert whys(f"my number {wide}") == ["Japanese My Number; context 'my number'"]


def test_an_iban_has_the_structure_of_its_country() -> None:
    assert [one.type for one in find("to GB82 WEST 1234 5698 7654 32")] == ["IBAN"]
    assert not find("to GB80 1234 1234 5698 7654 32", ["IBAN"]), "right check digits, no bank's letters"
    assert iban.length("GB") == 22
    assert iban.length("MT") == 31
    assert iban.length("XX") is None
