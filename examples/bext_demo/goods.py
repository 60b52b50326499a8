"""What the roaster sells: the rows that a new database starts with."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["GOODS", "Good"]


class Good(NamedTuple):
    """A coffee: its address, what a visitor reads, its price in cents and the hue (0 to 359 degrees) of its
    picture."""

    slug: str
    name: str
    origin: str
    notes: str
    price_cents: int
    hue: int


GOODS = (
    Good("guji-natural", "Guji Natural", "Ethiopia", "Blueberry, jasmine, milk chocolate", 1690, 275),
    Good("huila-washed", "Huila Washed", "Colombia", "Red apple, caramel, hazelnut", 1490, 12),
    Good("nyeri-peaberry", "Nyeri Peaberry", "Kenya", "Blackcurrant, grapefruit, brown sugar", 1890, 330),
    Good("cerrado-pulped", "Cerrado Pulped Natural", "Brazil", "Almond, cocoa, dried fig", 1190, 32),
    Good("antigua-bourbon", "Antigua Bourbon", "Guatemala", "Orange, toffee, cedar", 1390, 22),
    Good("tarrazu-honey", "Tarrazú Honey", "Costa Rica", "Peach, honey, black tea", 1590, 45),
    Good("gayo-highland", "Gayo Highland", "Sumatra", "Dark chocolate, tobacco, clove", 1450, 150),
    Good("huehue-decaf", "Huehuetenango Decaf", "Guatemala", "Walnut, malt, raisin", 1550, 205),
    Good("harbour-espresso", "Harbour Espresso", "House blend", "Molasses, praline, cherry", 1290, 358),
    Good("first-light", "First Light Filter", "House blend", "Apricot, vanilla, lime", 1350, 52),
    Good("gesha-village", "Gesha Village", "Ethiopia", "Bergamot, mango, rose", 3290, 120),
    Good("cold-front", "Cold Front", "House blend", "Plum, cola, dark rum", 1320, 225),
)
