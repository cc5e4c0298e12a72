"""What is measured of one record's attention, a file per family; `analysis.catalog` lists them."""
