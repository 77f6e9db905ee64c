"""Short texts of patients with what they want: realistic enough to be told apart by meaning.

Made from a seed: each intent has several ways to say it, each with places for words of its own,
and what people put before and after. Ways to say it are kept apart, so that those in the test
split have never been seen.
"""

from __future__ import annotations

import random

OPENINGS = ("", "hi, ", "hello there, ", "excuse me, ", "good morning, ", "sorry to bother you, ")
CLOSINGS = ("", " please", " thanks", ", can you help?", " as soon as possible", ", thank you")
WHEN = ("tomorrow", "next Monday", "this afternoon", "on Friday", "in two weeks", "tonight")
WHO = ("me", "my son", "my daughter", "my mother", "my husband", "my grandfather")
SINCE = ("since yesterday", "for three days", "since last night", "for a week", "all morning")
DRUG = ("ibuprofen", "metformin", "amoxicillin", "lisinopril", "paracetamol", "insulin")

INTENTS: dict[str, tuple[str, ...]] = {
    "book": (
        "I would like to see a doctor {when}",
        "do you have a free slot {when} for {who}",
        "can {who} come in {when}",
        "is it possible to make an appointment {when}",
        "please put {who} down for a visit {when}",
        "I need someone to look at {who} {when}",
    ),
    "cancel": (
        "I can't make it {when}, please take me off the list",
        "I have to call off my visit {when}",
        "please cancel the appointment of {who} {when}",
        "{who} will not be coming {when} after all",
        "delete my booking {when}",
        "something came up, I must drop my slot {when}",
    ),
    "refill": (
        "{who} is running out of {drug}",
        "I need a new prescription for {drug}",
        "could you renew my {drug}",
        "please send another pack of {drug} to the pharmacy",
        "my {drug} is nearly finished, I need more",
        "repeat order of {drug} for {who}",
    ),
    "side_effect": (
        "I get a rash when I take {drug}",
        "{drug} makes {who} dizzy",
        "after taking {drug} I feel sick",
        "is it normal to be so tired from {drug}",
        "{who} vomits every time after {drug}",
        "my lips swell from the {drug}",
    ),
    "fever": (
        "{who} has had a temperature of 39 {since}",
        "{who} is burning up {since}",
        "I am shivering and hot {since}",
        "the thermometer shows 40 degrees {since}",
        "{who} has chills and sweats {since}",
        "feverish {since} and nothing brings it down",
    ),
    "chest_pain": (
        "I feel a pressure on my chest {since}",
        "it hurts behind the breastbone {since}",
        "{who} has a tight chest and the left arm aches {since}",
        "stabbing pain near the heart {since}",
        "my chest is squeezing when I climb stairs {since}",
        "{who} clutches the chest in pain {since}",
    ),
    "cough": (
        "{who} can't stop coughing {since}",
        "I bring up green phlegm {since}",
        "a dry tickle in the throat makes me bark {since}",
        "{who} wheezes and coughs at night {since}",
        "hacking away {since} and no syrup helps",
        "my lungs rattle when I cough {since}",
    ),
    "headache": (
        "my head is pounding {since}",
        "{who} has a migraine {since}",
        "there is a throbbing behind my eyes {since}",
        "light hurts and my skull feels like bursting {since}",
        "{who} complains about head pain {since}",
        "a band seems to squeeze my temples {since}",
    ),
    "stomach": (
        "{who} has cramps in the belly {since}",
        "I have had diarrhoea {since}",
        "my stomach is upset {since}",
        "{who} can't keep any food down {since}",
        "bloated and gassy {since}",
        "there is a burning in my gut after meals {since}",
    ),
    "injury": (
        "{who} fell and twisted an ankle",
        "I cut my hand with a kitchen knife",
        "{who} banged a knee and it is swollen",
        "I think my wrist is broken",
        "{who} slipped on the ice and the hip hurts",
        "a dog bit {who} in the leg",
    ),
    "results": (
        "are my blood results back",
        "what did the scan of {who} show",
        "I am waiting for the laboratory report",
        "has the biopsy of {who} been looked at",
        "did the test come out positive",
        "when will you know about the x-ray of {who}",
    ),
    "bill": (
        "I was charged twice for the visit",
        "what does the consultation cost",
        "does my insurance pay for this",
        "the invoice for {who} is wrong",
        "where can I pay what I owe",
        "please send the receipt for {who}",
    ),
    "vaccine": (
        "when can {who} get the flu jab",
        "I need the shots for a trip to Kenya",
        "is the booster for {who} due",
        "do you give the tetanus vaccine",
        "which immunisations does {who} still lack",
        "I want to be inoculated against measles",
    ),
    "hours": (
        "how late are you open {when}",
        "is the practice closed {when}",
        "what are your opening times",
        "from when on is somebody there {when}",
        "do you work on public holidays",
        "until when can I drop by {when}",
    ),
    "sick_note": (
        "I need a certificate for my employer",
        "could you write {who} off work until next week",
        "my boss wants proof that I am ill",
        "please extend the sick leave of {who}",
        "school asks for a note about {who}",
        "I need a paper that says I can't work",
    ),
    "sleep": (
        "{who} lies awake every night",
        "I can't fall asleep {since}",
        "I wake up at three and stay up",
        "{who} has nightmares {since}",
        "sleepless {since} and exhausted",
        "nothing helps me nod off",
    ),
    "mood": (
        "I feel hopeless {since}",
        "{who} has lost interest in everything",
        "I cry for no reason {since}",
        "I worry all the time and panic in shops",
        "{who} is down and withdrawn {since}",
        "everything seems pointless {since}",
    ),
    "pregnancy": (
        "I think I am expecting",
        "my period is late {since}",
        "I am in my third month, when is the next ultrasound",
        "is {drug} safe for my unborn child",
        "the baby has not kicked {since}",
        "I have contractions {since}",
    ),
    "address": (
        "I have moved, please change my details",
        "my phone number is different now",
        "here is the new street of {who}",
        "please update the e-mail you have for {who}",
        "you still write to my old flat",
        "I married and have another surname now",
    ),
    "referral": (
        "I need to be sent to a specialist",
        "could you refer {who} to a cardiologist",
        "who is a good dermatologist for {who}",
        "I want a second opinion from an orthopaedist",
        "please write a transfer to the eye clinic",
        "{who} should see a neurologist, what do we need",
    ),
}
LABELS = tuple(INTENTS)


def intents(rows: int, seed: int = 0, unseen: bool = False) -> tuple[list[str], list[int]]:
    """Return texts and the numbers of their labels.

    Args:
        rows: How many.
        seed: Of all that is drawn.
        unseen: Say it in the last two of each intent's six ways instead of the first four.
    """
    draws = random.Random(f"{seed} {unseen}")
    texts, targets = [], []
    for number in range(rows):
        label = number % len(LABELS)
        ways = INTENTS[LABELS[label]]
        way = draws.choice(ways[4:] if unseen else ways[:4])
        said = way.format(
            when=draws.choice(WHEN),
            who=draws.choice(WHO),
            since=draws.choice(SINCE),
            drug=draws.choice(DRUG),
        )
        texts.append(draws.choice(OPENINGS) + said + draws.choice(CLOSINGS))
        targets.append(label)
    return texts, targets
