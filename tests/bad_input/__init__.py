"""Bad input: what is sent (`values`), to what (`routes`, `forms`), by whom (`state`), and how.

A sound request that is refused anyway (`forms`) is twisted in one place or in several (`twists`, `wires`), and sent as
bytes (`requests`, `line`).
"""
