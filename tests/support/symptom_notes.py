"""Made-up notes of patients: 24 diseases with symptoms that overlap, each said in several ways.

Not real, and not to be taken for medical knowledge. A note names some symptoms of its disease, the
ones that only few others have among them, in a random order, in words of the patient, with what
people say around them, and with typing errors. Fever, tiredness, itching or a cough stand in the
notes of many diseases, so that single words do not tell them apart.
"""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl

SAID: dict[str, tuple[str, ...]] = {
    "fever": ("I have a high fever", "my temperature is up", "I am burning up", "I feel feverish"),
    "chills": ("I get chills", "I keep shivering", "I am freezing under two blankets"),
    "sweats": ("I sweat through my clothes", "I wake up drenched", "I am sweating a lot"),
    "fatigue": ("I am tired all the time", "I feel worn out", "I have no energy", "I am exhausted"),
    "headache": ("my head hurts", "I have a headache", "there is a pounding in my head"),
    "nausea": ("I feel sick", "I am nauseous", "my stomach turns", "I nearly threw up"),
    "vomiting": ("I have been vomiting", "I throw up after meals", "nothing stays down"),
    "appetite": ("I do not want to eat", "my appetite is gone", "food does not interest me"),
    "itch": ("it itches", "I cannot stop scratching", "the itching drives me mad"),
    "rash": ("I have a rash", "there are red spots on my skin", "my skin is blotchy"),
    "joints": ("my joints ache", "my knees and wrists hurt", "every joint is sore"),
    "muscles": ("my muscles are sore", "my whole body aches", "my arms and legs hurt"),
    "cough": ("I cough a lot", "I have a cough that will not go", "I keep coughing"),
    "breath": ("I am short of breath", "I cannot catch my breath", "breathing is hard"),
    "dizzy": ("I feel dizzy", "the room spins", "I am light-headed when I get up"),
    "belly": ("my belly hurts", "I have stomach pain", "there are cramps in my abdomen"),
    "scales": ("silvery scales come off my skin", "my skin flakes in thick plates",
               "my elbows are covered with dry scaly patches"),
    "nails": ("my nails have small dents", "there are pits in my fingernails",
              "the nails come loose at the edge"),
    "leg_veins": ("the veins of my calves stand out", "blue ropes show on my legs",
                  "my leg veins are swollen and twisted"),
    "leg_ache": ("my legs are heavy in the evening", "my calves cramp after standing",
                 "my ankles swell when I stand long"),
    "constipation": ("I am constipated", "I have not been to the toilet for days",
                     "going to the toilet is an effort"),
    "diarrhoea": ("I have diarrhoea", "my stool is watery", "I run to the toilet all day"),
    "step_fever": ("the fever has risen a little each day for a week",
                   "every evening the temperature is higher than the day before"),
    "blisters": ("the spots turned into little blisters", "small bubbles full of fluid came up",
                 "blisters burst and crusted over on my chest and back"),
    "contagious": ("two children in the class have the same", "my brother had it last week",
                   "it goes around at school"),
    "crusts": ("honey-coloured crusts form round my mouth", "yellow scabs ooze under my nose",
               "the sores weep and dry to a golden crust"),
    "eye_pain": ("it hurts behind my eyes", "my eyes ache when I move them",
                 "there is pressure at the back of my eyeballs"),
    "bleeding": ("my gums bleed", "I bruise at a touch", "tiny red dots came up on my arms"),
    "ring": ("the patch is round with a raised edge", "a ring grows on my thigh",
             "the circle clears in the middle and spreads"),
    "damp": ("it is worst between the toes", "it sits in the folds where I sweat",
             "the skin in my groin is damp and cracked"),
    "runny": ("my nose runs", "I go through a box of tissues a day", "I am all stuffed up"),
    "sneeze": ("I sneeze again and again", "I cannot stop sneezing", "one sneeze after the other"),
    "throat": ("my throat is scratchy", "it hurts to swallow", "I have a sore throat"),
    "phlegm": ("I bring up rusty phlegm", "thick yellow slime comes up", "the sputum is brown"),
    "chest_stab": ("a deep breath stabs in my side", "it hurts in my chest when I breathe in",
                   "there is a sharp pain on one side of the ribs"),
    "piles": ("there is a lump at my anus", "something bulges out when I press",
              "sitting is painful down there"),
    "blood_stool": ("there is bright blood on the paper", "I saw fresh blood in the bowl",
                    "it bleeds when I pass stool"),
    "stiff": ("I am stiff for an hour every morning", "my fingers hardly bend after waking up",
              "it takes long until my hands move in the morning"),
    "swollen_joints": ("my knuckles are swollen and warm", "the knee is thick and hot",
                       "my finger joints are puffy"),
    "pimples": ("I have pimples on my face", "my chin is full of zits",
                "pus-filled bumps keep coming on my cheeks"),
    "blackheads": ("my nose is full of blackheads", "my skin is greasy", "my pores are clogged"),
    "wheeze": ("there is a whistle when I breathe out", "my chest wheezes at night",
               "I hear a squeak with every breath"),
    "trigger": ("it starts when I run", "cold air sets it off", "dust brings on an attack"),
    "nosebleed": ("my nose bled twice", "I had a nosebleed for no reason"),
    "pressure": ("my ears ring and my heart pounds", "the cuff at the pharmacy showed 180",
                 "my blood pressure was far too high at the check"),
    "one_side": ("only one half of my head throbs", "it pulses on the left side of my head",
                 "one temple hammers for hours"),
    "light": ("light is unbearable", "I have to lie in the dark", "noise and light make it worse"),
    "aura": ("I saw zigzag lines before", "flickering spots came first"),
    "neck": ("my neck is stiff and hurts", "turning my head hurts", "my neck cracks and aches"),
    "tingle": ("my fingers tingle", "pins and needles run down my arm", "my hand goes numb"),
    "yellow": ("my eyes have turned yellow", "my skin looks yellow",
               "people say that I look yellowish"),
    "dark_urine": ("my urine is dark like tea", "my stool is pale as clay",
                   "what I pass is brown as cola"),
    "periodic": ("it comes back every second day", "the attack returns at the same hour",
                 "after some hours it is gone, and two days later it is back"),
    "tropics": ("I came back from the tropics", "mosquitoes bit me on my trip",
                "I slept without a net on my journey"),
    "burning_urine": ("it burns when I pee", "passing water stings",
                      "urinating feels like needles"),
    "urge": ("I have to pee every half hour", "I feel the urge and only drops come",
             "I run to the bathroom all night"),
    "cloudy": ("my urine is cloudy and smells", "the urine has a foul smell"),
    "watery_eyes": ("my eyes water and itch", "my eyes are red and teary"),
    "season": ("it starts each spring", "it is bad when the grass blooms",
               "near cats it gets worse"),
    "heartburn": ("it burns behind my breastbone", "I have heartburn after dinner",
                  "a burning climbs from my stomach to my throat"),
    "acid": ("sour liquid comes up when I lie down", "I taste acid in my mouth at night",
             "I burp up something sour"),
    "new_drug": ("it began after I took a new tablet", "I started an antibiotic three days ago",
                 "the doctor gave me new pills last week"),
    "swelling": ("my lips are swollen", "my face puffed up", "my eyelids are thick"),
    "gnawing": ("a gnawing pain wakes me when my stomach is empty",
                "it hurts in the upper belly until I eat something",
                "the pain under my ribs gets better with a biscuit"),
    "black_stool": ("my stool is black as tar", "I passed something like coffee grounds"),
    "painkillers": ("I take painkillers every day", "I live on aspirin"),
    "thirst": ("I am always thirsty", "I drink four litres a day", "my mouth is dry all day"),
    "weight": ("I have lost weight without trying", "my trousers have become too wide"),
    "slow_wounds": ("a cut on my foot will not heal", "small wounds take weeks to close"),
    "blurred": ("my sight is blurred", "I see everything as in a fog"),
}  # fmt: skip

OWN: dict[str, tuple[str, ...]] = {
    "psoriasis": ("scales", "nails"),
    "varicose veins": ("leg_veins", "leg_ache"),
    "typhoid": ("step_fever", "constipation"),
    "chicken pox": ("blisters", "contagious"),
    "impetigo": ("crusts", "contagious"),
    "dengue": ("eye_pain", "bleeding", "tropics"),
    "fungal infection": ("ring", "damp"),
    "common cold": ("runny", "sneeze", "throat"),
    "pneumonia": ("phlegm", "chest_stab"),
    "haemorrhoids": ("piles", "blood_stool"),
    "arthritis": ("stiff", "swollen_joints"),
    "acne": ("pimples", "blackheads"),
    "asthma": ("wheeze", "trigger"),
    "hypertension": ("pressure", "nosebleed"),
    "migraine": ("one_side", "light", "aura"),
    "cervical spondylosis": ("neck", "tingle"),
    "jaundice": ("yellow", "dark_urine"),
    "malaria": ("periodic", "tropics"),
    "urinary tract infection": ("burning_urine", "urge", "cloudy"),
    "allergy": ("watery_eyes", "season"),
    "reflux": ("heartburn", "acid"),
    "drug reaction": ("new_drug", "swelling"),
    "peptic ulcer": ("gnawing", "black_stool", "painkillers"),
    "diabetes": ("thirst", "slow_wounds", "urge"),
}
"""What few other diseases have."""
SHARED: dict[str, tuple[str, ...]] = {
    "psoriasis": ("itch", "rash", "joints"),
    "varicose veins": ("muscles", "itch", "fatigue"),
    "typhoid": ("fever", "headache", "belly", "appetite", "fatigue", "diarrhoea"),
    "chicken pox": ("fever", "itch", "rash", "appetite", "fatigue"),
    "impetigo": ("rash", "itch", "fever"),
    "dengue": ("fever", "joints", "muscles", "rash", "headache", "nausea"),
    "fungal infection": ("itch", "rash"),
    "common cold": ("cough", "headache", "fever", "fatigue"),
    "pneumonia": ("fever", "chills", "cough", "breath", "fatigue", "sweats"),
    "haemorrhoids": ("constipation", "itch", "belly"),
    "arthritis": ("joints", "fatigue", "muscles"),
    "acne": ("rash", "itch"),
    "asthma": ("cough", "breath", "fatigue"),
    "hypertension": ("headache", "dizzy", "breath", "blurred"),
    "migraine": ("headache", "nausea", "vomiting", "dizzy", "blurred"),
    "cervical spondylosis": ("headache", "dizzy", "muscles"),
    "jaundice": ("fatigue", "itch", "belly", "appetite", "nausea", "weight"),
    "malaria": ("fever", "chills", "sweats", "headache", "muscles", "vomiting"),
    "urinary tract infection": ("fever", "belly", "nausea", "chills"),
    "allergy": ("itch", "sneeze", "runny", "cough", "throat"),
    "reflux": ("belly", "cough", "throat", "nausea"),
    "drug reaction": ("rash", "itch", "fever", "dizzy", "nausea"),
    "peptic ulcer": ("belly", "nausea", "appetite", "weight", "heartburn"),
    "diabetes": ("fatigue", "weight", "blurred", "appetite", "itch"),
}
"""What many have."""
LABELS = tuple(sorted(OWN))

_TYPOS = 0.12
"""Of the longer words."""
_JOINS = (". ", ", and ", ", ", ". Also, ", " and ", ". On top of that ", "; ")
_BEFORE = ("", "", "", "Hello, ", "Doctor, ", "For some days now: ", "I am worried: ",
           "It started on Sunday. ", "My wife says I should write to you. ")  # fmt: skip
_AFTER = ("", "", "", " What could it be?", " I am 45 years old.", " It gets worse at night.",
          " I have never had this before.", " Rest does not help.", " Please advise.")  # fmt: skip


def symptom_notes(rows: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Return notes and their labels, as many of each.

    Args:
        rows: How many.
        seed: Of all that is drawn.
    """
    draws = random.Random(seed)
    notes, labels = [], []
    for number in range(rows):
        label = LABELS[number % len(LABELS)]
        own, shared = OWN[label], SHARED[label]
        told = draws.sample(own, draws.choice([1, 1, 2])) + draws.sample(
            shared, min(len(shared), draws.choice([1, 2, 3]))
        )
        if draws.random() < 0.2:  # something that has nothing to do with it
            told.append(draws.choice(("fatigue", "headache", "cough", "itch", "dizzy", "throat")))
        draws.shuffle(told)
        text = draws.choice(SAID[told[0]])
        for symptom in dict.fromkeys(told[1:]):
            text += draws.choice(_JOINS) + draws.choice(SAID[symptom])
        note = draws.choice(_BEFORE) + _typed(text, draws) + "." + draws.choice(_AFTER)
        notes.append(note[0].upper() + note[1:])
        labels.append(label)
    return notes, labels


def _typed(text: str, draws: random.Random) -> str:
    """Return a text as somebody types it who does not look: letters are lost or change places."""
    words = text.split(" ")
    for place, word in enumerate(words):
        if len(word) > 3 and draws.random() < _TYPOS:
            at = draws.randrange(1, len(word) - 1)
            swapped = word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :]
            words[place] = draws.choice([word[:at] + word[at + 1 :], swapped])
    return " ".join(words)


def write_csv(path: Path, rows: int, seed: int = 0) -> Path:
    """Write notes with the columns ``text`` and ``label``; return ``path``."""
    notes, labels = symptom_notes(rows, seed)
    pl.DataFrame({"text": notes, "label": labels}).write_csv(path)
    return path


if __name__ == "__main__":
    import sys

    write_csv(Path(sys.argv[1]), rows=int(sys.argv[2]), seed=int(sys.argv[3]))
