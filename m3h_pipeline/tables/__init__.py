"""Any table from disk: text, records, Parquet, ARFF, AnnData, matrices. Knows columns, and no cohort."""
