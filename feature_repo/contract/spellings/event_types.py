"""Types of events as public logs and trackers spell them, by the name that settings use."""

from __future__ import annotations

from collections.abc import Mapping

CLICK = "click"  # an event without a type

# Spellings of public logs and of common trackers, by the name that the settings use. RetailRocket: view,
# addtocart, transaction. OTTO: clicks, carts, orders. Yoochoose: buys. UserBehavior: pv, cart, fav, buy.
# REES46: view, cart, remove_from_cart, purchase. Coveo: pageview, detail, add, remove. Google Analytics 4:
# view_item, add_to_cart, view_item_list. MIND: impressions.
SPELLINGS: Mapping[str, tuple[str, ...]] = {
    CLICK: ("clicks", "clicked", "select_item", "item_click"),
    "view": ("views", "viewed", "pv", "pageview", "page_view", "view_item", "product_view", "event_product"),
    "detail": ("details", "detail_view", "product_detail"),
    "cart": ("carts", "addtocart", "add_to_cart", "add", "add_cart", "added_to_cart", "basket"),
    "wishlist": ("fav", "favorite", "favourite", "like", "add_to_wishlist", "addtowishlist", "wish"),
    "purchase": (
        "purchases",
        "purchased",
        "buy",
        "buys",
        "bought",
        "order",
        "orders",
        "ordered",
        "transaction",
        "transactions",
        "conversion",
    ),
    "impression": ("impressions", "shown", "view_item_list", "exposure", "impress"),
    "remove_from_cart": ("removefromcart", "remove", "removed", "cart_remove", "unfav"),
}
_CANONICAL = {spelling: name for name, spellings in SPELLINGS.items() for spelling in (name, *spellings)}


def canonical(event_type: str | None) -> str:
    """Return the name of a type as the settings use it; no type, or a blank one, is a click.

    Examples
    --------
    >>> canonical("addtocart"), canonical("Add-To Cart"), canonical("buys"), canonical(None), canonical("zap")
    ('cart', 'cart', 'purchase', 'click', 'zap')
    """
    if event_type is None:
        return CLICK
    plain = event_type.strip().lower().replace("-", "_").replace(" ", "_")
    return _CANONICAL.get(plain, plain) or CLICK
