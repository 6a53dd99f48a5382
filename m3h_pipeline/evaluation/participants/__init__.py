"""Who is in the study: flow, Table 1 by part, outcomes by part and subgroup, and how alike the parts are."""
