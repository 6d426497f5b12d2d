"""The seam between the two planes: values and ports. Imports core only; neither plane imports the other."""
