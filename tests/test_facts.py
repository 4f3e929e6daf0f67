import math

import pytest

from deepseek_explained import facts
from deepseek_explained.facts import Comparison, read_ledger

ENTRY = """
["v3.total_pub"]
value = 671
unit = "billion parameters"
counts = "the main model"
date = "2024-12-27"
source = "dsv3"
locator = "abstract"
standing = "read in the source"
"""


def figure(**changes):
    text = ENTRY
    for field, value in changes.items():
        kept = [line for line in text.splitlines() if not line.startswith(f"{field} =")]
        text = "\n".join([*kept, f"{field} = {value}"])
    return read_ledger(text)["v3.total_pub"]


def test_a_figure_knows_its_number_unit_and_rounding():
    whole = figure()
    assert whole.value == 671e9
    assert whole.rounding == 0.5e9
    assert str(whole) == "671 billion parameters"
    assert repr(whole) == "<v3.total_pub: 671 billion parameters>"
    assert whole.quote == whole.note == whole.reason == ""
    printed = figure(value="70.0", unit='"%"')
    assert printed.value == 70
    assert printed.rounding == pytest.approx(0.05)
    assert str(printed) == "70.0 %"


def test_intervals_read_as_intervals():
    assert str(figure(value="[85, 90]", unit='"%"')) == "85 to 90 %"
    assert (
        str(figure(value="[500, inf]", unit='"million US dollars"'))
        == "more than 500 million US dollars"
    )
    assert figure(value="[500, inf]", unit='"million US dollars"').interval == (500e6, math.inf)
    with pytest.raises(ValueError, match=r"v3\.total_pub: value: expected a single number"):
        figure(value="[85, 90]").value  # noqa: B018


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        *(("thousand x", 1e3), ("million x", 1e6), ("billion x", 1e9), ("trillion x", 1e12)),
        *(("KB per token", 1e3), ("GB", 1e9), ("TB/s", 1e12), ("MiB", 2**20), ("TiB", 2**40)),
        *(("TB", 1e12), ("GiB/s", 2**30), ("TiB/s", 2**40), ("kW", 1e3)),
        *(
            ("GB/s", 1e9),
            ("Gbit/s", 1e9),
            ("ms", 1e-3),
            ("microseconds", 1e-6),
            ("tokens", 1),
            ("", 1),
        ),
    ],
)
def test_the_first_word_of_the_unit_may_scale(unit, factor):
    assert figure(value="2", unit=f'"{unit}"').value == pytest.approx(2 * factor, rel=1e-15)


def test_no_unit_of_the_ledger_has_a_scale_that_is_not_read():
    unread = {
        "KiB",
        "GiB",
        "MB",
        "PB",
        "MW",
        "k",
        "K",
        "M",
        "B",
        "T",
        "thousands",
        "millions",
    }
    for entry in facts.ledger().values():
        assert entry.unit.split(" ")[0] not in unread, entry.id


def test_less_than_reads_as_less_than():
    assert str(figure(value="[-inf, 2]", unit='"months"')) == "less than 2 months"
    assert figure(value="[1.25, 3]", unit='"x"').rounding == 0.5


def test_what_nobody_saw_says_so_when_printed():
    assert str(figure(standing='"reported but not seen"')).endswith("(reported, not seen by us)")
    assumed = figure(
        standing='"assumption"', value="[1, 2]", reason='"between two published prices"'
    )
    assert str(assumed).endswith("(assumed)")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"value": '"671"'}, "value: expected a number"),
        ({"value": "true"}, "value: expected a number"),
        ({"value": "nan"}, "value: expected a number, got nan"),
        ({"value": "[1, 2, 3]"}, r"value: expected a number or \[low, high\]"),
        ({"value": "[2, 1]"}, "value: expected low <= high"),
        ({"value": "inf"}, "value: expected at least one finite end"),
        ({"unit": "7"}, "unit: expected text"),
        ({"counts": '" "'}, "counts: expected text, got an empty string"),
        ({"date": '"last May"'}, "date: expected YYYY"),
        ({"standing": '"surely"'}, "standing: expected one of"),
        ({"standing": '"assumption"'}, "reason: an assumption needs"),
        ({"standing": '"assumption"', "reason": '"why not"'}, "reason: an assumption needs"),
        ({"date": '"2024-12-27T00"'}, "date: expected YYYY"),
        ({"sauce": '"x"'}, "sauce: unknown field"),
    ],
)
def test_a_bad_entry_is_refused_with_its_id_and_field(changes, complaint):
    with pytest.raises(ValueError, match=rf"v3\.total_pub: {complaint}"):
        figure(**changes)


@pytest.mark.parametrize(
    "field", ["value", "unit", "counts", "date", "source", "locator", "standing"]
)
def test_a_missing_field_is_named(field):
    text = "\n".join(line for line in ENTRY.splitlines() if not line.startswith(f"{field} ="))
    with pytest.raises(ValueError, match=rf"v3\.total_pub: {field}: missing"):
        read_ledger(text)


def test_a_ledger_that_is_no_toml_or_has_an_id_twice_is_refused():
    with pytest.raises(ValueError, match="ledger: not valid TOML"):
        read_ledger(ENTRY + ENTRY)
    with pytest.raises(ValueError, match="Total Pub: id: expected"):
        read_ledger(ENTRY.replace("v3.total_pub", "Total Pub"))
    with pytest.raises(ValueError, match="loose: expected a table"):
        read_ledger("loose = 1")


def test_an_unknown_id_is_refused():
    with pytest.raises(ValueError, match=r"no\.such: no such figure in the ledger"):
        facts.fact("no.such")


@pytest.mark.parametrize(
    ("value", "derived", "status"),
    [
        ("671", 671e9, "exact"),
        ("671", 671.4e9, "within rounding"),
        ("671", 671.6e9, "off"),
        ("671", 670.5e9, "within rounding"),
        ("[85, 90]", 87e9, "inside"),
        ("[85, 90]", 90.4e9, "within rounding"),
        ("[85, 90]", 91e9, "off"),
    ],
)
def test_comparison_says_how_a_derived_number_lies(value, derived, status):
    assert Comparison(figure(value=value), derived).status == status


def test_comparison_prints_both_numbers_and_the_difference():
    text = str(Comparison(figure(), 671026419200))
    assert text == (
        "published 671 billion parameters, derived 671.026, difference +0.00% (within rounding)"
    )
    assert Comparison(figure(), 2 * 671e9).difference == 1


def test_difference_outside_an_interval_is_to_its_nearer_end():
    assert Comparison(figure(value="[50, 100]"), 150e9).difference == pytest.approx(0.5)
    assert Comparison(figure(value="[50, 100]"), 25e9).difference == pytest.approx(-0.5)
    assert Comparison(figure(value="0"), 1).difference == math.inf
    assert Comparison(figure(value="0"), 0).difference == 0


def test_compare_refuses_what_is_no_number():
    with pytest.raises(ValueError, match=r"v3\.total_pub: derived: expected a finite number"):
        facts.compare("v3.total_pub", math.nan)


@pytest.mark.parametrize(
    "options, verdict",
    [
        ({}, "off, unexplained"),
        ({"why": "it counts something else"}, "off, explained"),
        ({"circular": True}, "an input"),
    ],
)
def test_a_difference_is_explained_or_not(options, verdict):
    assert facts.compare("v3.total_pub", 680e9, **options).verdict == verdict
    if "circular" not in options:
        assert facts.compare("v3.total_pub", 671e9, **options).verdict == "exact"


def test_an_explanation_is_text():
    with pytest.raises(ValueError, match=r"v3\.total_pub: why: expected text"):
        facts.compare("v3.total_pub", 1.0, why=True)
    for name in ("circular", "same_source"):
        with pytest.raises(ValueError, match=f"v3.total_pub: {name}: expected true or false"):
            facts.compare("v3.total_pub", 1.0, **{name: "yes"})


def test_a_derived_number_is_printed_to_as_many_digits_as_asked():
    row = facts.compare("v3.total_pub", 671_026_419_200)  # published as 671 billion
    assert row.derived_number == "671.026"
    assert row.derived_to(3) == "671" and row.derived_to(3, more=2) == "671.03"
    assert row.derived_to(5) == "671.03"
    assert facts.compare("train.hours_pre", 2_666_601).derived_to(3) == "2,667"
    assert (
        facts.compare("isca.kv_llama_ratio", 12_345.6).derived_to(3) == "12,346"
    )  # never 1.23e+04
    assert facts.compare("llama31.flop_405b", 3.7988e25).derived_number == "3.7988e+25"


def test_an_interval_is_met_with_the_digits_of_its_longer_end():
    assert Comparison(figure(value="[1, 2.345]", unit='"x"'), 1.23456).derived_to(2) == "1.235"


def test_a_comparison_claims_nothing_that_was_not_said():
    for row in (Comparison(figure(), 1), facts.compare("v3.total_pub", 1)):
        assert (row.why, row.lead, row.circular, row.same_source) == ("", "", False, False)


def test_a_lead_is_text_and_explains_nothing():
    assert facts.compare("v3.layers", 60, lead="perhaps").verdict == "off, unexplained"
    with pytest.raises(ValueError, match="v3.layers: lead: expected text"):
        facts.compare("v3.layers", 60, lead=3)
