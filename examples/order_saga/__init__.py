"""A shop for a day, and it is killed three times: the orders of a file are paid for, packed and
shipped, by workflows that go on in the next process where they stood in the last.

Begin reading with :mod:`.shop`; everything else is there to give it trouble, and to check it.

Run it: ``python -m examples.order_saga --help``
"""
