"""Words that the judge `toxicity` reads. Slurs and the coarsest words are rotated by 13 letters, so that nobody reads
them who does not mean to."""

from __future__ import annotations

import codecs
from collections.abc import Mapping


def _plain(rotated: str) -> frozenset[str]:
    return frozenset(codecs.decode(rotated, "rot13").split())


def as_set(text: str) -> frozenset[str]:
    """Return the words of a list."""
    return frozenset(text.split())


OBSCENE = _plain(
    "shpx shpxf shpxrq shpxre shpxref shpxvat shpxva zbgureshpxre zbgureshpxref zbgureshpxvat fuvg fuvgf fuvggl "
    "ohyyfuvg fuvgurnq nffubyr nffubyrf nefrubyr ovgpu ovgpurf ovgpul onfgneq onfgneqf phag phagf pbpxfhpxre qvpxurnq "
    "jnaxre jnaxref gjng cevpx juber juberf fyhg fyhgf qbhpuront cvff cvffrq jgs fgsh"
)
NAMES = _plain(
    "zbgureshpxre zbgureshpxref fuvgurnq nffubyr nffubyrf nefrubyr ovgpu ovgpurf onfgneq onfgneqf phag phagf "
    "pbpxfhpxre qvpxurnq jnaxre jnaxref gjng cevpx juber juberf fyhg fyhgf qbhpuront shpxre shpxref"
)
"""Obscene words that call somebody something."""
CURSES = _plain("shpx fperj qnza")
"""Verbs that curse whoever follows."""
SLURS: Mapping[str, frozenset[str]] = {
    "origin": _plain(
        "avttre avttref avttn avttnf puvax puvaxf fcvp fcvpf tbbx tbbxf jrgonpx jrgonpxf xvxr xvxrf xlxr cnxv cnxvf "
        "entururnq entururnqf gbjryurnq gbjryurnqf tlccb pbba pbbaf qnexvr qnexvrf fnaqavttre ornare ornaref"
    ),
    "orientation or gender": _plain("snttbg snttbgf sntf qlxr qlxrf genaal genaavrf furznyr furznyrf ynqlobl"),
    "disability": _plain("ergneq ergneqf ergneqrq fcnfgvp fcnm zbatbybvq"),
}
INSULTS = as_set(
    """
    idiot idiots idiotic moron morons moronic imbecile imbeciles stupid dumb dumbass dimwit dimwits halfwit loser
    losers pathetic worthless useless scum scumbag trash garbage filth vermin cretin fool fools jerk jerks creep
    creeps brainless clueless disgusting repulsive ugly pig swine coward weakling freak freaks lunatic psycho dunce
    nitwit simpleton ignoramus buffoon clown numbskull disgrace parasite
    """
)
MILD = as_set(
    """
    fool fools clown useless clueless coward ugly ignorant jerk jerks garbage trash disgrace
    """
)
"""Insults that are said of things, or in jest, as often as of people."""
GROUPS = as_set(
    """
    muslims jews christians hindus sikhs buddhists atheists catholics mormons women men girls females blacks whites
    asians africans arabs mexicans indians chinese americans europeans latinos hispanics gypsies roma natives
    immigrants migrants refugees foreigners gays lesbians homosexuals bisexuals transgenders queers disabled
    cripples autistics poor homeless elderly feminists liberals conservatives
    """
)
PEOPLE = as_set(
    """
    black white asian african arab mexican indian chinese jewish muslim christian hindu gay lesbian trans
    transgender bisexual queer disabled autistic immigrant foreign old elderly poor homeless latino hispanic native
    fat
    """
)
"""Adjectives that make a group with `people`, `men`, `women`, `folks`."""
CONTEMPT = as_set(
    """
    inferior subhuman vermin animals savages parasites scum trash garbage filth disgusting stupid dumb idiots evil
    criminals terrorists rapists thieves lazy dirty filthy worthless useless disease plague cancer cockroaches rats
    degenerate degenerates perverts abominations unclean uncivilised uncivilized barbaric backward brainless weak
    """
)
REMOVAL = as_set(
    """
    exterminated eradicated eliminated killed gassed shot hanged lynched deported enslaved sterilised sterilized
    banned burned burnt beaten raped wiped
    """
)
HARM = as_set(
    """
    kill murder hurt strangle stab shoot beat rape burn destroy slaughter choke punch smash butcher behead
    """
)
SAFE_OBJECTS = as_set(
    """
    process processes server job task command program thread time app service pid
    """
)
"""What is killed, beaten or shot without a threat."""
