"""Pages for people: self-contained HTML, readable without network, in light and dark, by eye and by screen reader."""
