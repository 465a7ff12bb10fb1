"""How data come to count unequally: what differs between OPER, AW and DW."""
