CREATE TABLE IF NOT EXISTS products (
    slug        TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    origin      TEXT NOT NULL,
    notes       TEXT NOT NULL,
    price_cents INTEGER NOT NULL CHECK (price_cents > 0),
    hue         INTEGER NOT NULL
);

CREATE TABLE IF NOT EXISTS orders (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    slug      TEXT NOT NULL REFERENCES products (slug),
    quantity  INTEGER NOT NULL CHECK (quantity BETWEEN 1 AND 100),
    cents     INTEGER NOT NULL,
    state     TEXT NOT NULL DEFAULT 'placed' CHECK (state IN ('placed', 'paid')),
    placed_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
);

-- Bags that are held for an order until they are shipped.
CREATE TABLE IF NOT EXISTS reservations (
    order_id INTEGER PRIMARY KEY,
    slug     TEXT NOT NULL REFERENCES products (slug),
    quantity INTEGER NOT NULL
);

-- A demo runs for days on somebody's desk: the newest 5000 orders are plenty.
CREATE TRIGGER IF NOT EXISTS keep_newest_orders AFTER INSERT ON orders
BEGIN
    DELETE FROM reservations WHERE order_id <= NEW.id - 5000;
    DELETE FROM orders WHERE id <= NEW.id - 5000;
END;
