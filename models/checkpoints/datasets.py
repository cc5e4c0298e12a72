"""The data sets that published networks were trained on: their classes, in label order."""

from torchvision.models.video import R3D_18_Weights

_CITYSCAPES = """
road, sidewalk, building, wall, fence, pole, traffic light, traffic sign, vegetation, terrain,
sky, person, rider, car, truck, bus, train, motorcycle, bicycle
"""

_VOC = """
background, aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, diningtable, dog,
horse, motorbike, person, pottedplant, sheep, sofa, train, tvmonitor
"""

_ADE20K = """
wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk,
person, earth, door, table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf,
house, sea, mirror, rug, field, armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub,
railing, cushion, base, box, column, signboard, chest of drawers, counter, sand, sink, skyscraper,
fireplace, refrigerator, grandstand, path, stairs, runway, case, pool table, pillow, screen door,
stairway, river, bridge, bookcase, blind, coffee table, toilet, flower, book, hill, bench,
countertop, stove, palm, kitchen island, computer, swivel chair, boat, bar, arcade machine, hovel,
bus, towel, light, truck, tower, chandelier, awning, streetlight, booth, television receiver,
airplane, dirt track, apparel, pole, land, bannister, escalator, ottoman, bottle, buffet, poster,
stage, van, ship, fountain, conveyer belt, canopy, washer, plaything, swimming pool, stool,
barrel, basket, waterfall, tent, bag, minibike, cradle, oven, ball, food, step, tank, trade name,
microwave, pot, animal, bicycle, lake, dishwasher, screen, blanket, sculpture, hood, sconce, vase,
traffic light, tray, ashcan, fan, pier, crt screen, plate, monitor, bulletin board, shower,
radiator, glass, clock, flag
"""


def _names(text: str) -> tuple[str, ...]:
    return tuple(" ".join(name.split()) for name in text.split(","))


CLASSES = {
    "Cityscapes": _names(_CITYSCAPES),
    "BDD100K": _names(_CITYSCAPES),
    "ADE20K": _names(_ADE20K),
    "Pascal VOC 2012": _names(_VOC),
    "Kinetics-400": tuple(R3D_18_Weights.KINETICS400_V1.meta["categories"]),
}
"""Data set -> class names.

ADE20K's begin at the wall, without its background; those of Kinetics-400 are in alphabetical order,
which all its networks here share.
"""


def classes_by_count(count: int) -> tuple[tuple[str, ...], str]:
    """Return class names for a network that is known by their number alone, and where from."""
    for dataset, names in CLASSES.items():
        if len(names) == count:
            said = f"class names of {dataset}, which has {count} classes"
            return names, f"{said}: no tensor tells; classes= sets others"
    said = f"no names for its {count} classes: classes= sets them"
    return tuple(f"class {index}" for index in range(count)), said
