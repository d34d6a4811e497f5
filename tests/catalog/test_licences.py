"""Licences in the words of the sources, by hand; what is not asked for is out, with its reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioclip_lib.catalog.licences import KEYS, exclude_licenses, license_key
from bioclip_lib.catalog.splits import assign_splits
from bioclip_lib.catalog.table import check_catalog, drop_summary
from bioclip_lib.config import SplitConfig, load_config
from bioclip_lib.errors import InputError
from tests.catalog.test_table import simple_catalog

TEXTS = {
    "cc0": (
        *("cc0", "CC0 1.0", "CC0_1_0", "cc-zero", "CC 0", "Public Domain Dedication", "Creative Commons Zero"),
        *("http://creativecommons.org/publicdomain/zero/1.0/", "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication"),
        *("CC0 - No Rights Reserved", "cc0: no rights reserved"),
        "https://creativecommons.org/publicdomain/zero/1.0/legalcode",
    ),
    "public-domain": (
        *("public domain", "Public Domain Mark", "Public Domain Mark 1.0", "pdm", "publicdomain", "PDM 1.0", "CC PDM"),
        *("http://creativecommons.org/licenses/publicdomain/", "https://creativecommons.org/publicdomain/mark/1.0/"),
    ),
    "cc-by": (
        *("cc-by", "CC BY 4.0", "CC_BY_4_0", "CC-BY", "http://creativecommons.org/licenses/by/3.0/", "by"),
        *("Attribution License", "Creative Commons Attribution 4.0 International"),
        *("(c) Anna, some rights reserved (CC BY)", "https://creativecommons.org/licenses/by/2.0/uk/"),
    ),
    "cc-by-sa": ("CC BY-SA 4.0", "http://creativecommons.org/licenses/by-sa/3.0/us/", "Attribution-ShareAlike License"),
    "cc-by-nd": ("cc-by-nd", "Attribution-NoDerivs License", "Creative Commons Attribution-NoDerivatives 4.0"),
    "cc-by-nc": (
        *("cc-by-nc", "CC BY-NC 4.0", "CC_BY_NC_4_0", "creativecommons.org/licenses/by-nc/4.0/", "BY-NC 4.0"),
        *("Attribution-NonCommercial License", "CC BY NC", "http://creativecommons.org/licenses/by-nc/4.0/legalcode"),
        *("Creative Commons Attribution Non-Commercial", "© Rob, einige Rechte vorbehalten (CC BY-NC)"),
    ),
    "cc-by-nc-sa": (
        *("cc-by-nc-sa-3.0", "CC BY-NC-SA 4.0", "https://creativecommons.org/licenses/by-nc-sa/4.0/"),
        *("CreativeCommons - Attribution Non-Commercial Share-Alike", "cc-by-sa-nc"),
    ),
    "cc-by-nc-nd": ("cc-by-nc-nd", "Attribution-NonCommercial-NoDerivs License", "CC BY-NC-ND 2.0"),
    "no-known-copyright": (
        *("No known copyright restrictions", "no known restrictions", "http://rightsstatements.org/vocab/NKC/1.0/"),
        *("https://www.flickr.com/commons/usage/", "no-known-copyright-restrictions", "no-known-copyright"),
    ),
    "all-rights-reserved": (
        *("all rights reserved", "(c) NC State University, all rights reserved", "© All Rights Reserved", "C"),
        *("http://rightsstatements.org/vocab/InC/1.0/", "all-rights-reserved"),
    ),
    "not-stated": ("", "  ", "unknown", "UNSPECIFIED", "not provided", "None", "n/a", "-", "not stated", "not-stated"),
    "other": (
        *("By permission only", "By A. Person no rights reserved", "By written permission of the institution"),
        *(
            "no rights reserved by the museum",
            "No rights reserved",
            "Attribution: Jane Smith",
            "by Jane Smith",
            "By JS",
        ),
        *("Used with permission", "with permission of the author, CC BY", "CC BY 4.0, contact the author before use"),
        *("CC BY unless otherwise stated", "CC BY-NC except logos", "CC BY 4.0 for research only", "no CC BY"),
        *("Not for commercial use", "for educational use only", "Free to use", "royalty free", "fair use"),
        *(
            "Open Access",
            "Some rights reserved",
            "Creative Commons",
            "CC",
            "By courtesy of the herbarium",
            "attribution required",
        ),
        *("Non-commercial use only", "Copyright John Smith", "© 2019 J. Smith", "permission pending", "see website"),
        *("CC BY or similar", "similar to CC0"),
        *("CC BY text, images all rights reserved", "Attribution by request", "by-nc with permission", "ask by e-mail"),
        *("private use", "Creative Commons licence, not commercial", "public domain only in the USA"),
        *("GPL", "GNU Free Documentation License", "CC BY or CC BY-NC", "cc-by-sa-nd", "cc-nc", "photo by NC Smith"),
        *(
            "CC Sampling+",
            "not public domain",
            "http://example.com/by/4.0",
            "MIT",
            "other",
            "UNSUPPORTED",
            "cc-by-ncsa",
            "cc-by-nc-ndx",
        ),
    ),
}


@pytest.mark.parametrize("key", TEXTS)
def test_licences_by_hand(key):
    assert {text: license_key(text) for text in TEXTS[key]} == dict.fromkeys(TEXTS[key], key)


def test_the_wordings_are_many_and_only_those_that_grant_are_free():
    assert sum(map(len, TEXTS.values())) >= 120 and len(TEXTS["other"]) >= 40


def test_every_key_is_tested_and_is_its_own_key():
    assert set(TEXTS) == set(KEYS) == {license_key(key) for key in KEYS}
    assert [license_key(key) for key in KEYS] == list(KEYS)


@given(st.text())
def test_any_text_has_a_key(text):
    assert license_key(text) in KEYS


def licensed():
    catalog = simple_catalog({"a": 4, "b": 4})
    return catalog.assign(license=["CC0", "CC BY 4.0", "cc-by-nc", ""] * 2)


def test_other_licences_are_excluded_with_the_reason():
    found = exclude_licenses(licensed(), ("cc0", "CC BY 3.0"))
    assert found["excluded"].tolist()[:4] == [
        *("", "", "licence cc-by-nc not among those asked for", "licence not-stated not among those asked for")
    ]
    assert drop_summary(found)["n_images"].tolist() == [2, 2]
    check_catalog(assign_splits(found, SplitConfig()))


def test_no_wish_takes_all_and_an_earlier_reason_stays():
    catalog = licensed()
    assert exclude_licenses(catalog, ()).equals(catalog)
    catalog.loc[2, "excluded"] = "truncated"
    assert exclude_licenses(catalog, ["cc0"])["excluded"][2] == "truncated"


def test_an_unknown_licence_is_refused_with_those_known():
    accepted = load_config("photos", {"data.licenses": "cc0,cc-bync"}).data.licenses
    with pytest.raises(InputError, match=r"'cc-bync' is not known; take of cc0, public-domain"):
        exclude_licenses(licensed(), accepted)
    assert (exclude_licenses(licensed(), ["other", "not-stated"])["excluded"] == "").sum() == 2
