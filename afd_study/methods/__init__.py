"""How it is matched: one method a page, read top to bottom."""
