"""A fuzzer: values to send (`values`), routes and their forms (`routes`, `forms`), and senders (`state`).

It starts with well-formed requests that are refused anyway (`forms`), changes them in one or more places (`twists`,
`wires`), and sends them as raw bytes (`requests`, `line`).
"""
