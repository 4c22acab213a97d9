"""Words for records: plausible ones, and texts that careless programs cannot handle."""

from __future__ import annotations

FIRST_NAMES = ("Isabelle", "Olu", "Siân", "Zoë", "Mohammed", "Agnieszka", "Seán", "Priya", "François", "Mei", "Tadeusz")
LAST_NAMES = (
    "MacDonald",
    "O'Neill",
    "Adébáyò",
    "van der Berg",
    "Ní Bhriain",
    "Smith-Jones",
    "Łukasiewicz",
    "Nguyễn",
    "de la Cruz",
)
EMPLOYERS = ("Some Company Ltd", "St Mary's C.E. Primary School", "Trust & Partners <Education>", "Ysgol y Faenol")
AWKWARD = (
    "",
    " ",
    "two\nlines",
    "tab\tand \\ backslash",
    'quoted "text" with ": inside',
    "line\u2028separator\u2029and\x85next",
    "nul\x00inside",
    "שלום ومرحبا",
    "e\u0301 combining, \U0001f469\u200d\U0001f3eb teacher, \U00020000 rare",
    "null",
    "2021-05-31T02:21:32Z",
    "\ufeffbyte order mark",
    "</script>&amp;",
    "x" * 400,
)
COURSES = (
    "npq-senior-leadership",
    "npq-headship",
    "npq-executive-leadership",
    "npq-early-years-leadership",
    "npq-leading-teaching",
    "npq-leading-literacy",
    "npq-additional-support-offer",
    "npq-senco",
)
SCHEDULES = (
    "npq-aso-march",
    "npq-ehco-june",
    "npq-leadership-autumn",
    "npq-leadership-spring",
    "npq-specialist-autumn",
)
MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
