"""How data are made to count unequally: what differs between OPER, AW and DW."""
