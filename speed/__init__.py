"""How fast the library is, and how well it does beside its peers: a script a question; README.md has what was found."""
