"""HTTP: the API, its keys and its documentation."""
