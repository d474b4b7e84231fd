"""Steps, their store and their execution; nothing here knows what alignment is."""
