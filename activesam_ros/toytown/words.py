"""The words of Toy Town: its classes, their synonyms, and words that name nothing in it.

``CLASSES`` are the 19 evaluation classes of Cityscapes in their usual order; label images hold indices into
it. Words in ``FOREIGN`` teach the model to refuse what is absent. ``UNSEEN_FOREIGN`` is not in training, so
that refusing those words can be measured honestly.
"""


def _words(text: str) -> tuple[str, ...]:
    return tuple(" ".join(word.split()) for word in text.split(","))


SYNONYMS: dict[str, tuple[str, ...]] = {
    "road": _words("road, street, roadway, asphalt, drivable area, carriageway, highway"),
    "sidewalk": _words("sidewalk, footpath, walkway, pedestrian path, footway"),
    "building": _words("building, house, office building, apartment block, facade, skyscraper, tower block"),
    "wall": _words("wall, brick wall, stone wall, retaining wall, concrete wall"),
    "fence": _words("fence, picket fence, railing, wooden fence, fencing, guard rail"),
    "pole": _words("pole, lamp post, street lamp, post, utility pole, street light"),
    "traffic light": _words("traffic light, traffic signal, stoplight, signal light, traffic lamp"),
    "traffic sign": _words("traffic sign, road sign, street sign, stop sign, sign, warning sign"),
    "vegetation": _words("vegetation, tree, bush, trees, shrub, foliage, plant, hedge"),
    "terrain": _words("terrain, grass, lawn, soil, meadow, grassland, verge"),
    "sky": _words("sky, clouds, heaven, cloudy sky, blue sky"),
    "person": _words("person, pedestrian, human, man, woman, people, walker, child"),
    "rider": _words("rider, cyclist, biker, motorcyclist, bike rider, person riding"),
    "car": _words("car, automobile, sedan, van, passenger car, auto, taxi, suv"),
    "truck": _words("truck, lorry, semi trailer, cargo truck, freight truck, delivery truck, pickup truck"),
    "bus": _words("bus, coach, city bus, omnibus, school bus, autobus"),
    "train": _words("train, tram, streetcar, railcar, locomotive, light rail, trolley"),
    "motorcycle": _words("motorcycle, motorbike, scooter, moped, motor scooter"),
    "bicycle": _words("bicycle, bike, cycle, pushbike, pedal cycle, mountain bike"),
}
CLASSES: tuple[str, ...] = tuple(SYNONYMS)
CLASS_ID: dict[str, int] = {name: index for index, name in enumerate(CLASSES)}
VOID = 255
THINGS: frozenset[int] = frozenset(
    CLASS_ID[name]
    for name in _words(
        "traffic light, traffic sign, person, rider, car, truck, bus, train, motorcycle, bicycle"
    )
)
SUPERCLASSES: dict[str, tuple[str, ...]] = {
    "vehicle": _words("car, truck, bus, train, motorcycle, bicycle"),
    "two wheeler": _words("motorcycle, bicycle"),
    "public transport": _words("bus, train"),
}
HYPERNYMS: dict[str, tuple[str, ...]] = {
    "road": _words("way"),
    "sidewalk": _words("walk, path"),
    "building": _words("structure"),
    "wall": _words("partition"),
    "fence": _words("barrier"),
    "pole": _words("rod"),
    "traffic light": _words("visual signal"),
    "traffic sign": _words("sign, signal"),
    "vegetation": _words("collection, plant"),
    "terrain": _words("tract, piece of land"),
    "sky": _words("atmosphere"),
    "person": _words("organism, causal agent"),
    "rider": _words("traveler"),
    "car": _words("motor vehicle"),
    "truck": _words("motor vehicle"),
    "bus": _words("public transport"),
    "train": _words("public transport"),
    "motorcycle": _words("motor vehicle"),
    "bicycle": _words("wheeled vehicle"),
}
"""More general words that training shows next to a prompt, as the pipeline's context tokens do."""
OTHER_HYPERNYMS: tuple[str, ...] = _words("""
    animal, artifact, food, furniture, instrument, structure, vehicle, machine, garment, fruit,
    container, device, mammal, bird, tool, craft, vessel, plant, equipment, way, barrier, organism,
    conveyance, signal, area
""")
FOREIGN: tuple[str, ...] = _words("""
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
UNSEEN_FOREIGN: tuple[str, ...] = _words("""
    hippopotamus, leopard, wolf, fox, squirrel, parrot, eagle, owl, lobster, jellyfish, strawberry,
    pineapple, grape, tomato, carrot, hamburger, pancake, printer, monitor, headphones, tablet,
    drone, yacht, canoe, armchair, wardrobe, bookshelf, dishwasher, kettle, necklace, helmet,
    jacket, trousers, trampoline, accordion, saxophone, dinosaur, dragon, unicorn, lighthouse,
    campfire
""")
DEMO_WORDS: tuple[str, ...] = CLASSES + _words("""
    giraffe, sofa, elephant, banana, laptop, guitar, piano, boat, airplane, penguin, shark, tiger,
    cow, sheep, dog, horse, pizza, bottle, cup, chair, bed, television, umbrella, backpack, oven,
    bathtub, pillow, surfboard, kite, volcano, castle, squirrel, parrot, owl, lobster, pineapple,
    tomato, armchair, kettle, accordion, dragon
""")
"""A vocabulary of 60 for demonstrations: the 19 classes and 41 words of other worlds, the last ten unseen."""
