"""CSV that can't be read, each beside a look-alike that has to pass.

To add a case is to add an entry to CASES (helpers/bad_files.py says what it holds).
"""

import pytest
from bad_files import ALL, CSV, Case, passes, refused, table

CASES = {
    # CSV
    "semicolons": Case(CSV, table(separator=";"), "separated by ';'; use commas", table("a;b,c;d"), 61),
    "semicolons, quoted": Case(
        CSV, table(separator=";", quoting=ALL), "separated by ';'; use commas", table(quoting=ALL)
    ),
    "tabs": Case(CSV, table(separator="\t"), "separated by tabs; use commas", table("a\tb,c\td"), 61),
    "tabs, quoted": Case(CSV, table(separator="\t", quoting=ALL), "separated by tabs", table('"a\tb",c'), 61),
    "bars": Case(CSV, table(separator="|"), r"separated by '\|'; use commas", table("a|b,c|d"), 61),
    "semicolons below": Case(CSV, table("a;b"), "line 62 has 1 fields.*separated by ';'", table("a;b,c"), 61),
    "a comma too many": Case(
        CSV, table("well, yes,b"), 'line 62 has 3 fields.*put "', table('"well, yes",b'), 61
    ),
    "a field too few": Case(CSV, table("well"), "line 62 has 1 fields", table(" "), 60),
    "an open quote": Case(
        CSV, table('a,"b', "c,d"), "from line 62 on is not CSV.*each quote closed", table('a,"b', 'c,d"'), 61
    ),
    "a quote within": Case(
        CSV, table('a,"say "hi" to"'), r'line 62.*written twice \(""\)', table('a,"say ""hi"" to"'), 61
    ),
    "a column twice": Case(
        CSV,
        table(header=("prompt", "prompt")),
        "names the column 'prompt' 2 times",
        table(header=("prompt", " response ")),
    ),
    "other columns": Case(
        CSV, table(header=("Prompts", "answer")), "lacks the column 'prompt'.*mean 'Prompts'", table()
    ),
    "no header": Case(
        CSV, table().split(b"\n", 1)[1], "the header.* lacks the column", table("prompt,response"), 61
    ),
    "an invisible letter": Case(
        CSV, table(header=("prompt\u200b", "response")), r"mean 'prompt\\u200b'", table("\u200bprompt,a"), 61
    ),
    "an escape in a column": Case(
        CSV, table(header=("\x1b[31mprompt", "response")), r"\\x1b\[31mprompt", table("\x1b[31m,a"), 61
    ),
}


@pytest.mark.parametrize("title", CASES)
def test_a_bad_file_is_one_clear_error(tmp_path, title):
    refused(tmp_path, CASES[title])


@pytest.mark.parametrize("title", CASES)
def test_its_look_alike_passes(tmp_path, title):
    passes(tmp_path, CASES[title])
