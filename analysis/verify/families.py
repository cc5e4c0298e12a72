"""All families that are tried."""

from nonlocal_lens.analysis.verify import of_this_package
from nonlocal_lens.analysis.verify.family import LIBRARIES, Family
from nonlocal_lens.analysis.verify.library_members import BUILDERS, families

FAMILIES: tuple[Family, ...] = (
    *(family for prefix in BUILDERS for family in families(prefix, LIBRARIES[prefix])),
    *of_this_package.FAMILIES,
)
