"""Classes of words and phrases that show a response's stance: what it does with a request, whatever it is about.

General English, written for this project; no class names a harm, so that the features carry over to other harms. No
apostrophes: `_lexer` leaves them out (`cant`, `im`).
"""

from __future__ import annotations

CLASSES = {
    "refuse": """i cannot, i cant, i can not, i will not, i wont, i refuse, i must decline, i decline, im
        unable, i am unable, am not able, im not able, unable to, not able to, cannot provide, cannot assist,
        cannot help, cannot fulfill, cannot fulfil, cannot comply, cannot offer, cannot support, cannot engage,
        cannot answer, cannot generate, cannot create, cannot condone, cannot endorse, cannot encourage, cannot
        promote, cant provide, cant assist, cant help, cant fulfill, cant support, cant comply, cant offer, cant
        engage, cant do that, not comfortable, not going to, wont provide, wont help, wont assist, not provide,
        not assist, not engage in, not fulfill, against my, my guidelines, my programming, content policy,
        ethical guidelines, usage policies, request denied, im not programmed, not allowed to, not permitted,
        must refuse, have to decline, not willing to, no i, cannot discuss, cannot recommend, not support""",
    "sorry": """im sorry, i am sorry, sorry but, i apologize, i apologise, apologies, unfortunately, im
        afraid, i regret, regrettably, sorry""",
    "identity": """as an ai, ai language model, language model, ai assistant, as a responsible, as a
        language, my purpose, im just an, i am just, i was designed, im designed, programmed to, designed to, im
        an ai, i am an, trained by, my training, my creators, openai""",
    "moral": """illegal, unethical, immoral, inappropriate, unacceptable, unlawful, harmful, offensive,
        dangerous, wrong, discriminatory, discrimination, hateful, hurtful, disrespectful, irresponsible,
        reprehensible, despicable, abhorrent, condemned, against the law, a crime, criminal offense, criminal
        offence, serious crime, serious offense, strictly prohibited, prohibited, human rights, rights of
        others, not acceptable, never acceptable, not appropriate, never appropriate, not okay, never okay, not
        ethical, morally, legal consequences, serious consequences, severe consequences, legal repercussions,
        criminal charges, not condone, dont condone, condone, violation of, violates, violate, ethical,
        ethically, stereotypes, equality, dignity, harm others, hurt others, respect and dignity, respect
        others, be respectful, privacy of, privacy rights, without their consent""",
    "urge": """i urge, i strongly, strongly advise, strongly discourage, strongly recommend, strongly
        encourage, i advise, i encourage, i would advise, advise against, recommend against, i recommend, i
        would recommend, i suggest you, please refrain, refrain from, do not attempt, dont do, not attempt,
        please do not, please dont, should not, should never, must not, never do, not advisable, not
        recommended, reconsider, think twice, discourage, i must emphasize, i must remind, i must inform, i must
        stress, i must warn, want to emphasize, i feel compelled""",
    "support": """hotline, helpline, lifeline, therapist, counselor, counsellor, counseling, therapy, mental
        health, seek help, professional help, seek professional, reach out, support group, trusted adult,
        emergency services, law enforcement, authorities, the authorities, local police, medical professional,
        healthcare provider, seek support, seek assistance, get help, struggling with, lawyer, attorney,
        qualified professional""",
    "instead": """instead, alternatively, alternative, alternatives, happy to help, glad to help, happy to
        assist, let me know, anything else, something else, other questions, another question, other topics,
        different topic, legal and ethical, safe and legal, safe and, constructive, healthier, legitimate,
        positive, lawful, legal ways, ethical ways, responsibly, feel free, have any other, is there anything,
        can i help, how can i, im here to, here to help, rather than, focus on""",
    "caution": """important to note, please note, note that, remember that, remember, keep in mind, be aware,
        caution, cautious, careful, disclaimer, warning, consult, consult with, at your own, own risk,
        educational purposes, informational purposes, purposes only, hypothetical, hypothetically, fictional,
        fiction, for entertainment, its important, it is important, it is essential, its essential, it is
        crucial, its crucial""",
    "comply": """sure, sure thing, of course, certainly, absolutely, no problem, gladly, with pleasure, here
        is, here are, heres, heres how, heres a, here you go, as requested, follow these steps, following steps,
        these steps, step by step, you can use, you could, you can, youll need, you will need, you need to, you
        want to, lets get, let me tell, let me show, simply, easiest way, best way, one way, another way, one
        method, below is, below are, my friend, listen up, alright, ah, well well, oh""",
    "sequence": """first, firstly, second, secondly, third, thirdly, fourth, next, then, finally, lastly,
        step, once, after that, afterwards, begin by, start by, step one, step two, until, while, before, now,
        ingredients, materials, instructions, tools, method, option, tip, tips""",
    "act": """use, using, create, make, take, find, add, mix, choose, get, set, start, begin, gather, obtain,
        buy, purchase, research, identify, select, wear, place, put, remove, open, install, download, run,
        build, develop, establish, hide, avoid, wait, approach, pretend, offer, send, target, contact, convince,
        learn, practice, prepare, plan, disguise, cover, cut, insert, connect, attach, pour, heat, collect,
        write, post, share, spread, look, try, consider, ensure, keep, stay, be, act, blend, distract, carry,
        bring, pull, push, turn, apply, access, exploit, offering, providing, hire, bribe, threaten, follow,
        monitor, track, record, transfer, move, leave, call, ask, tell, say, claim, promise""",
    "second": "you, your, yours, yourself, youre, youll, youve",
    "first": "i, me, my, im, ive, ill, we, our, us",
    "third": "he, she, him, her, his, hers, they, their, them",
    "unit": """grams, gram, kg, ml, mg, liters, litres, liter, minutes, minute, hours, hour, seconds, days,
        weeks, degrees, celsius, fahrenheit, percent, dollars, inches, inch, feet, meters, cm, mm, cups, cup,
        ounces, pounds, tablespoons, teaspoon, gallons, volts""",
    "hedge": """might, may, perhaps, possibly, depends, depending, some people, it depends, various, several,
        generally, typically, often, usually, could be, such as, including, potential, potentially, factors,
        context""",
    "protect": """prevent, protect, prevention, protection, protecting, preventing, report, reporting,
        awareness, safety, secure, security, raise awareness, combat, detect, victims, victim, defend, support
        victims, education, promote, promoting, understanding, inclusive, inclusion, diversity, empathy,
        compassion, kindness, tolerance, community, wellbeing, well being, respect, responsible, consequences,
        risks, risk""",
    "story": """said, replied, whispered, smiled, laughed, looked, stood, walked, eyes, voice, once upon,
        heart, night, chapter, story, character, characters, narrator, scene, int, ext, novel""",
    "persona": """dan, aim, chatgpt, gpt, jailbreak, jailbroken, developer mode, mode enabled, classic, stay
        in character, anarchy, evil, unfiltered, machiavelli, niccolo, response, answer, assistant, normal,
        developer""",
    "unclear": """not sure what, dont understand, do not understand, could you clarify, please clarify,
        please provide, more context, more information, what do you, could you please, can you please, do you
        mean, not clear, unclear, not aware, no information, i dont have, do not have, dont know, do not know,
        not familiar, doesnt exist, does not exist, there is no, is a fictional, not possible""",
    "define": """is a, is an, refers to, is the, are a, term, definition, defined as, history, known as, was
        a, century, war, government, movement, typically refers""",
    "promise": """i would be, i will, id be, ill be, i understand, i appreciate, thank you for, thanks for,
        great question, good question, interesting question""",
    "grammar": """of the, in the, to the, on the, and the, for the, with the, to be, it is, is a, in a, of a,
        as a, for a, with a, that the, from the, by the, at the, if you, you can, this is, can be, will be, is
        the, to make, to get, do not, they are, there are, have to, need to, want to, i am, i have, you are, it
        was, he was, she was, your own, one of, some of, as well, such as, of your, to your, in your, and then,
        how to, make sure, so that""",
}
"""Class -> phrases of one to three words, separated by commas."""

EMPTY = """a an the and or but if of to in on at by for with from as is are was were be been being am do does did
    have has had having will would can could should may might must shall i me my we our us you your yours he
    she it its they them their this that these those what which who whom how why when where not no nor so than
    then there here about into over under out up down off just only also very more most some any all each
    every other such own same too s t d ll m o re ve y without someone somebody something anyone anything way
    ways get make one using use like want need please write give tell me create explain describe provide list
    steps step guide instructions instruction tutorial detailed method methods best good people person them
    cannot cant dont doing does"""
"""Words of a request that say nothing of what it is about."""
