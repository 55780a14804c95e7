"""What theory says of the configurations of a sweep."""
