"""Events and flow columns over time -> events: the place of the observers between parse and detect.

Nothing stands here yet: what this version sees over time (guessing, sweeps, reconnecting clients) are correlation
rules over sessions and logins in `rules/`.
"""
