"""The studio: a page in the browser on which words and settings are tried on pictures (`activesam-studio`).

`document` is what is edited, `frames` what it is tried on, `session` the one thread that labels and what it found,
`pictures` draws that. `page` shows it in parts, `page_*`, which change it through an `editor`, and `server` serves it;
only these need a web framework.
"""
