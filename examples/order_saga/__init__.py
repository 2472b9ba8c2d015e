"""A shop for a day: orders from a file go through payments, inventory and shipping.

Actors crash before and after they did something, answers get lost, cards are declined; and at the
end of the day every order is complete or undone, to the cent. Begin reading with :mod:`.saga`.

Run it: ``python -m examples.order_saga --help``
"""
