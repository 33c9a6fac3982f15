"""The studio: a page in the browser on which words and settings are tried on pictures (`activesam-studio`).

`document` is what is edited, `frames` what it is tried on, `session` the one thread that labels and what it found,
`pictures` draws that, and `page` and `server` show it. Only the last two need a web framework.
"""
