"""What the shop sells."""

from __future__ import annotations

import attrs


@attrs.frozen
class Product:
    """One article; ``price`` in cents, ``stock`` is how many there are in the morning."""

    sku: str
    name: str
    price: int
    stock: int = 500


PRODUCTS = {
    product.sku: product
    for product in [
        Product("TEA-ASSAM", "Assam, 100 g", 590),
        Product("TEA-DARJ", "Darjeeling first flush, 100 g", 1290),
        Product("TEA-EARL", "Earl Grey, 100 g", 690),
        Product("TEA-GENM", "Genmaicha, 100 g", 780),
        Product("TEA-MINT", "Moroccan mint, 50 g", 450),
        Product("TEA-OOLO", "Oolong, 100 g", 1150),
        Product("TEA-ROOI", "Rooibos, 100 g", 520),
        Product("COF-ETHI", "Yirgacheffe beans, 250 g", 1095),
        Product("COF-COLO", "Huila beans, 250 g", 980),
        Product("COF-DECA", "Decaf beans, 250 g", 1050),
        Product("CUP-ESPR", "Espresso cup", 840),
        Product("CUP-LATT", "Latte glass", 750),
        Product("CUP-MATC", "Matcha bowl", 2350),
        Product("MUG-BLUE", "Blue mug", 1190),
        Product("MUG-SAND", "Sand mug", 1190),
        Product("POT-GLAS", "Glass teapot, 1 l", 3490),
        Product("POT-IRON", "Cast-iron teapot", 6900, stock=0),
        Product("KET-GOOS", "Gooseneck kettle", 7950, stock=6),
        Product("DRI-V60", "Coffee dripper", 1990),
        Product("FIL-V60", "Paper filters, 100", 560),
        Product("GRI-HAND", "Hand grinder", 8900, stock=20),
        Product("SCA-BREW", "Brewing scale", 4490),
        Product("TIN-SMAL", "Tea tin, small", 650),
        Product("HON-LIND", "Lime blossom honey", 890),
    ]
}
"""By stock keeping unit."""
