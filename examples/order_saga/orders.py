"""Orders: what a row of the file must say, and how the file is read.

One order a line, UTF-8, the columns named by the first line, in any order. A line that is not right
does not stop the reading: it is kept as :class:`Malformed`, with its number and the reason.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from datetime import date
from typing import TYPE_CHECKING

import attrs

from examples.order_saga.products import PRODUCTS, Product

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = (
    "order",
    "placed",
    "customer",
    "email",
    "street",
    "postcode",
    "city",
    "country",
    "items",
    "total",
)


class NotOrders(Exception):
    """The file has no orders in it: it cannot be read, or it is something else."""


@attrs.frozen
class Malformed:
    """A line that is no order; ``line`` counts from 1, the first line of the file."""

    line: int
    reason: str


@attrs.frozen
class Item:
    """So many of a product."""

    product: Product
    quantity: int


def check_text(order: Order, field: attrs.Attribute[str], text: str) -> None:
    """Something must stand there, and nothing that would play tricks on a terminal."""
    if not text:
        raise ValueError(f"no {field.name}")
    if not text.isprintable():
        raise ValueError(f"{field.name} {quoted(text)} has unprintable characters in it")


def check_id(order: Order, field: object, id: str) -> None:
    """Letters, digits and ``._-``."""
    if not id:
        raise ValueError("no order")
    if not re.fullmatch("[A-Za-z0-9._-]{1,40}", id):
        raise ValueError(f"order {quoted(id)} is no number such as 2001")


def check_email(order: Order, field: object, email: str) -> None:
    """One ``@``, and no blanks."""
    if not re.fullmatch(r"[^@\s]+@[^@\s]+", email):
        raise ValueError(f"email {quoted(email)} is no address")


def check_country(order: Order, field: object, country: str) -> None:
    """As ISO has it."""
    if not re.fullmatch("[A-Z]{2}", country):
        raise ValueError(f"country {quoted(country)} is no two-letter code such as DE")


def check_total(order: Order, field: object, total: int) -> None:
    """It is what the items cost."""
    cost = sum(item.quantity * item.product.price for item in order.items)
    if total != cost:
        raise ValueError(f"total is {money(total)}, but the items cost {money(cost)}")


@attrs.frozen
class Order:
    """What a customer wants. There is none that is not right. ``total`` in cents."""

    id: str = attrs.field(validator=check_id)
    placed: date
    customer: str = attrs.field(validator=check_text)
    email: str = attrs.field(validator=[check_text, check_email])
    street: str = attrs.field(validator=check_text)
    postcode: str = attrs.field(validator=check_text)
    city: str = attrs.field(validator=check_text)
    country: str = attrs.field(validator=[check_text, check_country])
    items: tuple[Item, ...]
    total: int = attrs.field(validator=check_total)


@attrs.frozen
class Reading:
    """A file that was read: ``rows`` lines that were not blank, the orders, and the rest."""

    orders: tuple[Order, ...]
    malformed: tuple[Malformed, ...]
    rows: int


def read_orders(path: Path) -> Reading:
    """Read a file of orders. Raises NotOrders if it is none."""
    try:
        with path.open("rb") as file:
            lines = [line.rstrip(b"\r\n") for line in file]
    except OSError as error:
        raise NotOrders(f"cannot read {path}: {error.strerror}") from error
    if not lines:
        raise NotOrders(f"{path} is empty; its first line is to be: {','.join(COLUMNS)}")
    columns = read_header(path, lines[0].removeprefix(b"\xef\xbb\xbf"))
    first_seen: dict[str, int] = {}
    orders, malformed, rows = [], [], 0
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        rows += 1
        try:
            order = read_order(columns, read_fields(line))
            if order.id in first_seen:
                raise ValueError(f"order {order.id} came already, in line {first_seen[order.id]}")
        except ValueError as error:
            malformed.append(Malformed(number, str(error)))
        else:
            first_seen[order.id] = number
            orders.append(order)
    return Reading(tuple(orders), tuple(malformed), rows)


def read_header(path: Path, line: bytes) -> list[str]:
    """The names of the columns. Raises NotOrders if some are missing, or stand there twice."""
    try:
        columns = read_fields(line)
    except ValueError as error:
        raise NotOrders(f"{path} has no orders in it, its first line is {error}") from error
    if not set(COLUMNS) <= set(columns) or len(set(columns)) < len(columns):
        raise NotOrders(
            f"{path} has no orders in it; its first line is to be: {','.join(COLUMNS)}. "
            f"Got: {quoted(','.join(columns))}"
        )
    return columns


def read_fields(line: bytes) -> list[str]:
    """The fields of one line. Raises ValueError for what is not text, or not CSV."""
    try:
        (fields,) = csv.reader([line.decode()], strict=True)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"not UTF-8: byte 0x{line[error.start]:02x} in column {error.start + 1}"
        ) from None
    except csv.Error as error:
        reason = "a quote is never closed" if "unexpected end" in str(error) else error
        raise ValueError(f"not CSV: {reason}") from None
    return [field.strip() for field in fields]


def read_order(columns: list[str], fields: list[str]) -> Order:
    """The order that is written in one line. Raises ValueError, saying what is wrong with it."""
    if len(fields) != len(columns):
        raise ValueError(f"{len(fields)} fields instead of {len(columns)}")
    row = dict(zip(columns, fields, strict=True))
    return Order(
        id=row["order"],
        placed=read_date(row["placed"]),
        customer=row["customer"],
        email=row["email"],
        street=row["street"],
        postcode=row["postcode"],
        city=row["city"],
        country=row["country"],
        items=read_items(row["items"]),
        total=read_amount(row["total"]),
    )


def read_date(text: str) -> date:
    """``2025-11-24``."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"placed {quoted(text)} is no date such as 2025-11-24") from None


def read_items(text: str) -> tuple[Item, ...]:
    """``2 x TEA-EARL; 1 x MUG-BLUE``."""
    if not text:
        raise ValueError("no items")
    wanted: Counter[str] = Counter()
    for part in text.split(";"):
        match = re.fullmatch(r"\s*(\S+) x (\S+)\s*", part)
        if match is None:
            raise ValueError(f"item {quoted(part.strip())} does not read like 2 x TEA-EARL")
        quantity, sku = match.groups()
        if not re.fullmatch(r"[+-]?[0-9]{1,6}", quantity):
            raise ValueError(f"quantity {quoted(quantity)} of {quoted(sku)} is no number")
        if int(quantity) < 1:
            raise ValueError(f"quantity {quantity} of {quoted(sku)} is less than 1")
        if sku not in PRODUCTS:
            raise ValueError(f"unknown product {quoted(sku)}")
        wanted[sku] += int(quantity)
    return tuple(Item(PRODUCTS[sku], quantity) for sku, quantity in wanted.items())


def read_amount(text: str) -> int:
    """``12.50`` as 1250 cents."""
    if not re.fullmatch(r"[0-9]{1,9}\.[0-9]{2}", text):
        raise ValueError(f"total {quoted(text)} is no amount such as 12.50" if text else "no total")
    return int(text.replace(".", ""))


def money(cents: int) -> str:
    """1250 cents as ``12.50``."""
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100:,}.{abs(cents) % 100:02}"


def quoted(text: str) -> str:
    """Somebody else's text, safe to print and not too long."""
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
