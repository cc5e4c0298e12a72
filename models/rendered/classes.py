"""The label values that scenes are painted with."""

from models.streets import STREET_CLASSES

(
    SKY,
    BUILDING,
    POLE,
    ROAD,
    PAVEMENT,
    TREE,
    SIGN,
    FENCE,
    CAR,
    PEDESTRIAN,
    BICYCLIST,
) = range(len(STREET_CLASSES))
