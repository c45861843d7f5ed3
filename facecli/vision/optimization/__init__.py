"""Networks in faster forms that give the same results, each proved before it is used."""
