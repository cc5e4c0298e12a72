"""What networks are to tell: the classes of streets, and what happens in clips.

The eleven classes are those of CamVid (Brostow et al. 2009, grouped as by SegNet).
"""

STREET_CLASSES = {
    "sky": (128, 178, 216),
    "building": (142, 68, 61),
    "pole": (230, 216, 140),
    "road": (120, 94, 140),
    "pavement": (196, 142, 196),
    "tree": (92, 142, 70),
    "sign": (242, 201, 58),
    "fence": (176, 122, 80),
    "car": (52, 92, 190),
    "pedestrian": (222, 60, 80),
    "bicyclist": (0, 158, 150),
}
"""Class name -> RGB color, 0 to 255, in the order of the label values 0 to 10."""

VOID = 11
"""Label value of pixels that belong to no class: never trained on, never counted."""

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

CLIP_LABELS = (
    "walks left",
    "walks right",
    "red follows blue",
    "blue follows red",
    "car stops for pedestrian",
    "pedestrian stops for car",
)
"""What a clip can show, in the order of its label."""

MIRRORED = (1, 0, 2, 3, 4, 5)
"""Label -> label of the same clip with left and right exchanged."""
