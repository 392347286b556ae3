"""Hide-and-seek (Baker et al. 2019) on a plane with heights."""
