"""The words of Toy Town: its classes, their synonyms, and words that name nothing in it.

``CLASSES`` are the 19 evaluation classes of Cityscapes in their usual order; a label image holds indices into it.
Words in ``FOREIGN`` teach the model to refuse what is absent. ``UNSEEN_FOREIGN`` never occurs in training, so that
refusing those words can be measured honestly.
"""

SYNONYMS: dict[str, tuple[str, ...]] = {
    "road": ("road", "street", "roadway", "asphalt", "drivable area", "carriageway", "highway"),
    "sidewalk": ("sidewalk", "footpath", "walkway", "pedestrian path", "footway"),
    "building": ("building", "house", "office building", "apartment block", "facade", "skyscraper", "tower block"),
    "wall": ("wall", "brick wall", "stone wall", "retaining wall", "concrete wall"),
    "fence": ("fence", "picket fence", "railing", "wooden fence", "fencing", "guard rail"),
    "pole": ("pole", "lamp post", "street lamp", "post", "utility pole", "street light"),
    "traffic light": ("traffic light", "traffic signal", "stoplight", "signal light", "traffic lamp"),
    "traffic sign": ("traffic sign", "road sign", "street sign", "stop sign", "sign", "warning sign"),
    "vegetation": ("vegetation", "tree", "bush", "trees", "shrub", "foliage", "plant", "hedge"),
    "terrain": ("terrain", "grass", "lawn", "soil", "meadow", "grassland", "verge"),
    "sky": ("sky", "clouds", "heaven", "cloudy sky", "blue sky"),
    "person": ("person", "pedestrian", "human", "man", "woman", "people", "walker", "child"),
    "rider": ("rider", "cyclist", "biker", "motorcyclist", "bike rider", "person riding"),
    "car": ("car", "automobile", "sedan", "van", "passenger car", "auto", "taxi", "suv"),
    "truck": ("truck", "lorry", "semi trailer", "cargo truck", "freight truck", "delivery truck", "pickup truck"),
    "bus": ("bus", "coach", "city bus", "omnibus", "school bus", "autobus"),
    "train": ("train", "tram", "streetcar", "railcar", "locomotive", "light rail", "trolley"),
    "motorcycle": ("motorcycle", "motorbike", "scooter", "moped", "motor scooter"),
    "bicycle": ("bicycle", "bike", "cycle", "pushbike", "pedal cycle", "mountain bike"),
}
CLASSES: tuple[str, ...] = tuple(SYNONYMS)
CLASS_ID: dict[str, int] = {name: index for index, name in enumerate(CLASSES)}
VOID = 255
THINGS: frozenset[int] = frozenset(
    CLASS_ID[name] for name in ("traffic light", "traffic sign", "person", "rider", "car", "truck", "bus", "train",
                                "motorcycle", "bicycle"))
SUPERCLASSES: dict[str, tuple[str, ...]] = {
    "vehicle": ("car", "truck", "bus", "train", "motorcycle", "bicycle"),
    "two wheeler": ("motorcycle", "bicycle"),
    "public transport": ("bus", "train"),
}
HYPERNYMS: dict[str, tuple[str, ...]] = {
    "road": ("way",), "sidewalk": ("walk", "path"), "building": ("structure",), "wall": ("partition",),
    "fence": ("barrier",), "pole": ("rod",), "traffic light": ("visual signal",), "traffic sign": ("sign", "signal"),
    "vegetation": ("collection", "plant"), "terrain": ("tract", "piece of land"), "sky": ("atmosphere",),
    "person": ("organism", "causal agent"), "rider": ("traveler",), "car": ("motor vehicle",),
    "truck": ("motor vehicle",), "bus": ("public transport",), "train": ("public transport",),
    "motorcycle": ("motor vehicle",), "bicycle": ("wheeled vehicle",),
}
"""More general words that training shows next to a prompt, as the pipeline's context tokens do."""
OTHER_HYPERNYMS: tuple[str, ...] = (
    "animal", "artifact", "food", "furniture", "instrument", "structure", "vehicle", "machine", "garment", "fruit",
    "container", "device", "mammal", "bird", "tool", "craft", "vessel", "plant", "equipment", "way", "barrier",
    "organism", "conveyance", "signal", "area")
FOREIGN: tuple[str, ...] = tuple(sorted(set("""
    giraffe|sofa|elephant|zebra|banana|laptop|keyboard|guitar|piano|violin|boat|ship|airplane|helicopter|submarine|
    rocket|penguin|dolphin|shark|whale|lion|tiger|bear|kangaroo|camel|cow|sheep|goat|pig|chicken|duck|cat|dog|horse|
    rabbit|mouse|snake|frog|turtle|fish|apple|orange|pizza|sandwich|cake|donut|bread|cheese|egg|bottle|cup|mug|fork|
    knife|spoon|plate|bowl|chair|table|bed|television|phone|camera|clock|watch|book|pencil|pen|scissors|umbrella|
    backpack|suitcase|shoe|hat|glove|sock|shirt|dress|tie|glasses|refrigerator|oven|microwave|toaster|sink|toilet|
    bathtub|mirror|carpet|curtain|pillow|blanket|basketball|football|tennis racket|skateboard|surfboard|snowboard|ski|
    kite|balloon|candle|flower|vase|teddy bear|robot|doll|drum|trumpet|microscope|telescope|satellite|volcano|
    waterfall|ocean|beach|island|desert|glacier|cactus|mushroom|spider|butterfly|bee|ant|octopus|crab|castle|pyramid|
    windmill|tent|hammer|screwdriver|drill|saw|ladder|bucket|broom|vacuum cleaner|fire hydrant|parking meter|bench|
    swimming pool|rainbow|moon|galaxy
    """.replace("\n", "").replace("    ", "").split("|"))))
UNSEEN_FOREIGN: tuple[str, ...] = tuple("""
    hippopotamus|leopard|wolf|fox|squirrel|parrot|eagle|owl|lobster|jellyfish|strawberry|pineapple|grape|tomato|carrot|
    hamburger|pancake|printer|monitor|headphones|tablet|drone|yacht|canoe|armchair|wardrobe|bookshelf|dishwasher|kettle|
    necklace|helmet|jacket|trousers|trampoline|accordion|saxophone|dinosaur|dragon|unicorn|lighthouse|campfire
    """.replace("\n", "").replace("    ", "").split("|"))
DEMO_WORDS: tuple[str, ...] = CLASSES + (
    "giraffe", "sofa", "elephant", "banana", "laptop", "guitar", "piano", "boat", "airplane", "penguin", "shark",
    "tiger", "cow", "sheep", "dog", "horse", "pizza", "bottle", "cup", "chair", "bed", "television", "umbrella",
    "backpack", "oven", "bathtub", "pillow", "surfboard", "kite", "volcano", "castle", "squirrel", "parrot", "owl",
    "lobster", "pineapple", "tomato", "armchair", "kettle", "accordion", "dragon")
"""A vocabulary of 60 for demonstrations: the 19 classes and 41 words of other worlds, the last ten unseen."""
