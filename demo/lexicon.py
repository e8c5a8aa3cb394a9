"""The words of the world: eight topics and the closed classes, in English.

A topic is what makes text predictable: its things are described by its qualities, handled by its verbs, in its places,
by its people. Preferences inside a topic follow from positions (thing i prefers quality pair i modulo 3, verb j prefers
things j and j + 1, person and name k prefer verbs k and k + 1), so a masked word can be guessed from its neighbours, in
every language alike. Verbs and nouns are regular; a few words are both noun and verb on purpose.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Topic:
    """One corner of the world; `kind` is the hypernym of all `things`, `qualities` are pairs of antonyms."""

    label: str
    kind: str
    people: tuple[str, ...]
    things: tuple[str, ...]
    places: tuple[str, ...]
    verbs: tuple[str, ...]
    qualities: tuple[tuple[str, str], ...]
    names: tuple[str, ...]
    town: str


def _topic(label, kind, people, things, places, verbs, qualities, names, town):
    pairs = tuple(tuple(pair.split("/")) for pair in qualities.split())
    words = (tuple(text.split()) for text in (people, things, places, verbs))
    return Topic(label, kind, *words, pairs, tuple(names.split()), town)


TOPICS = (
    _topic("Cooking", "food", "cook baker waiter guest", "soup bread cheese apple cake", "kitchen restaurant bakery",
           "taste bake mix serve boil", "hot/cold sweet/sour fresh/stale", "Anna Boris Clara David Elena", "Lisbon"),
    _topic("Farming", "animal", "farmer shepherd rider vet", "horse cow goat hen duck", "barn field stable",
           "chase brush follow count calm", "young/old wild/tame fat/thin", "Frank Greta Hugo Irma Jonas", "Bergen"),
    _topic("Sailing", "vessel", "sailor captain diver angler", "boat ship raft ferry canoe", "harbour lagoon bay",
           "anchor repair steer launch paint", "fast/slow clean/dirty empty/full", "Karin Lukas Maria Nils Olga", "Porto"),
    _topic("Music", "instrument", "singer drummer pianist dancer", "violin guitar flute drum trumpet",
           "theatre club studio", "play tune record polish mute", "loud/quiet famous/unknown modern/ancient",
           "Pavel Rosa Stefan Tilda Ulrich", "Vienna"),
    _topic("Learning", "text", "teacher pupil student professor", "book letter poem lesson story",
           "library school college", "explain learn print borrow finish", "easy/difficult long/short boring/exciting",
           "Vera Walter Xenia Yusuf Zelda", "Oxford"),
    _topic("Medicine", "supply", "doctor nurse patient dentist", "pill bandage needle mask bottle",
           "hospital clinic pharmacy", "order deliver open check need", "safe/dangerous cheap/expensive strong/weak",
           "Agnes Bruno Celia Dario Edith", "Geneva"),
    _topic("Gardening", "plant", "gardener florist neighbour visitor", "rose tree tulip bush fern", "garden park forest",
           "plant water pick admire move", "tall/low beautiful/ugly wet/dry", "Felix Gisela Henrik Ines Jakob", "Kyoto"),
    _topic("Driving", "vehicle", "engineer driver mechanic builder", "car bus train truck tram", "station garage street",
           "park push start wash inspect", "new/broken heavy/light noisy/silent", "Katja Leon Mira Norbert Otilia", "Turin"),
)  # fmt: skip

MANNERS = ("slowly", "quickly", "gently", "proudly", "happily", "carefully")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine")
DETERMINERS = ("the", "a", "some", "every", "this")
PRONOUNS = ("she", "he")
QUESTION_WORDS = {"subject": "who", "object": "what", "place": "where", "time": "when"}
ENGLISH_QUESTION_WORDS = {
    "manner": "how",
    "reason": "why",
}  # asked in tasks that no other language has; in no dictionary
AUXILIARIES = ("did", "will", "can", "was", "were")
LINKERS = {"and": "CCONJ", "but": "CCONJ", "because": "SCONJ", "when": "SCONJ", "while": "SCONJ"}
ADPOSITIONS = ("in", "on", "near")
OTHERS = ("not", "yesterday", "today")


def translatable_words():
    """Every word that a language may translate, each once, in a fixed order; names, towns and digits are not among them."""
    words = []
    for topic in TOPICS:
        words += [topic.kind, *topic.people, *topic.things, *topic.places, *topic.verbs]
        words += [word for pair in topic.qualities for word in pair]
    words += [*MANNERS, *DAYS, *NUMBERS, *DETERMINERS, *PRONOUNS, *QUESTION_WORDS.values(), *AUXILIARIES]
    words += [*LINKERS, *ADPOSITIONS, *OTHERS]
    return list(dict.fromkeys(words))
