"""Toy Town: a cartoon street world and the small demo model that segments it by prompts.

``CLASSES`` are the 19 evaluation classes of Cityscapes in their usual order; label images hold indices into it.
Classes in ``FOREIGN`` never occur in the world and teach the model to refuse what is absent; those in
``UNSEEN_FOREIGN`` are not in training either, so that refusing them can be measured honestly.
"""

from pathlib import Path


def model_folder() -> Path:
    """Return the folder of the demo model that ships with the package (config, weights, tokenizer, model card)."""
    return Path(__file__).resolve().parent / "model"


def _names(text: str) -> tuple[str, ...]:
    return tuple(" ".join(name.split()) for name in text.split(","))


SYNONYMS: dict[str, tuple[str, ...]] = {
    "road": _names("road, street, roadway, asphalt, drivable area, carriageway, highway"),
    "sidewalk": _names("sidewalk, footpath, walkway, pedestrian path, footway"),
    "building": _names("building, house, office building, apartment block, facade, skyscraper, tower block"),
    "wall": _names("wall, brick wall, stone wall, retaining wall, concrete wall"),
    "fence": _names("fence, picket fence, railing, wooden fence, fencing, guard rail"),
    "pole": _names("pole, lamp post, street lamp, post, utility pole, street light"),
    "traffic light": _names("traffic light, traffic signal, stoplight, signal light, traffic lamp"),
    "traffic sign": _names("traffic sign, road sign, street sign, stop sign, sign, warning sign"),
    "vegetation": _names("vegetation, tree, bush, trees, shrub, foliage, plant, hedge"),
    "terrain": _names("terrain, grass, lawn, soil, meadow, grassland, verge"),
    "sky": _names("sky, clouds, heaven, cloudy sky, blue sky"),
    "person": _names("person, pedestrian, human, man, woman, people, walker, child"),
    "rider": _names("rider, cyclist, biker, motorcyclist, bike rider, person riding"),
    "car": _names("car, automobile, sedan, van, passenger car, auto, taxi, suv"),
    "truck": _names("truck, lorry, semi trailer, cargo truck, freight truck, delivery truck, pickup truck"),
    "bus": _names("bus, coach, city bus, omnibus, school bus, autobus"),
    "train": _names("train, tram, streetcar, railcar, locomotive, light rail, trolley"),
    "motorcycle": _names("motorcycle, motorbike, scooter, moped, motor scooter"),
    "bicycle": _names("bicycle, bike, cycle, pushbike, pedal cycle, mountain bike"),
}
CLASSES: tuple[str, ...] = tuple(SYNONYMS)
CLASS_ID: dict[str, int] = {name: index for index, name in enumerate(CLASSES)}
VOID = 255
THINGS: frozenset[int] = frozenset(
    CLASS_ID[name]
    for name in _names(
        "traffic light, traffic sign, person, rider, car, truck, bus, train, motorcycle, bicycle"
    )
)
SUPERCLASSES: dict[str, tuple[str, ...]] = {
    "vehicle": _names("car, truck, bus, train, motorcycle, bicycle"),
    "two wheeler": _names("motorcycle, bicycle"),
    "public transport": _names("bus, train"),
}
HYPERNYMS: dict[str, tuple[str, ...]] = {
    "road": _names("way"),
    "sidewalk": _names("walk, path"),
    "building": _names("structure"),
    "wall": _names("partition"),
    "fence": _names("barrier"),
    "pole": _names("rod"),
    "traffic light": _names("visual signal"),
    "traffic sign": _names("sign, signal"),
    "vegetation": _names("collection, plant"),
    "terrain": _names("tract, piece of land"),
    "sky": _names("atmosphere"),
    "person": _names("organism, causal agent"),
    "rider": _names("traveler"),
    "car": _names("motor vehicle"),
    "truck": _names("motor vehicle"),
    "bus": _names("public transport"),
    "train": _names("public transport"),
    "motorcycle": _names("motor vehicle"),
    "bicycle": _names("wheeled vehicle"),
}
"""Hypernyms that training shows next to a prompt, as the pipeline's context tokens do."""
OTHER_HYPERNYMS: tuple[str, ...] = _names("""
    animal, artifact, food, furniture, instrument, structure, vehicle, machine, garment, fruit,
    container, device, mammal, bird, tool, craft, vessel, plant, equipment, way, barrier, organism,
    conveyance, signal, area
""")
FOREIGN: tuple[str, ...] = _names("""
    airplane, ant, apple, backpack, balloon, banana, basketball, bathtub, beach, bear, bed, bee,
    bench, blanket, boat, book, bottle, bowl, bread, broom, bucket, butterfly, cactus, cake, camel,
    camera, candle, carpet, castle, cat, chair, cheese, chicken, clock, cow, crab, cup, curtain,
    desert, dog, doll, dolphin, donut, dress, drill, drum, duck, egg, elephant, fire hydrant, fish,
    flower, football, fork, frog, galaxy, giraffe, glacier, glasses, glove, goat, guitar, hammer,
    hat, helicopter, horse, island, kangaroo, keyboard, kite, knife, ladder, laptop, lion,
    microscope, microwave, mirror, moon, mouse, mug, mushroom, ocean, octopus, orange, oven, parking
    meter, pen, pencil, penguin, phone, piano, pig, pillow, pizza, plate, pyramid, rabbit, rainbow,
    refrigerator, robot, rocket, sandwich, satellite, saw, scissors, screwdriver, shark, sheep,
    ship, shirt, shoe, sink, skateboard, ski, snake, snowboard, sock, sofa, spider, spoon,
    submarine, suitcase, surfboard, swimming pool, table, teddy bear, telescope, television, tennis
    racket, tent, tie, tiger, toaster, toilet, trumpet, turtle, umbrella, vacuum cleaner, vase,
    violin, volcano, watch, waterfall, whale, windmill, zebra
""")
UNSEEN_FOREIGN: tuple[str, ...] = _names("""
    hippopotamus, leopard, wolf, fox, squirrel, parrot, eagle, owl, lobster, jellyfish, strawberry,
    pineapple, grape, tomato, carrot, hamburger, pancake, printer, monitor, headphones, tablet,
    drone, yacht, canoe, armchair, wardrobe, bookshelf, dishwasher, kettle, necklace, helmet,
    jacket, trousers, trampoline, accordion, saxophone, dinosaur, dragon, unicorn, lighthouse,
    campfire
""")
DEMO_CLASSES: tuple[str, ...] = CLASSES + _names("""
    giraffe, sofa, elephant, banana, laptop, guitar, piano, boat, airplane, penguin, shark, tiger,
    cow, sheep, dog, horse, pizza, bottle, cup, chair, bed, television, umbrella, backpack, oven,
    bathtub, pillow, surfboard, kite, volcano, castle, squirrel, parrot, owl, lobster, pineapple,
    tomato, armchair, kettle, accordion, dragon
""")
"""A demo vocabulary of 60: the 19 classes and 41 foreign ones, of which the last ten are not in training."""
