"""How processes become one service."""
