"""One module a screen: what it asks the API, which template shows it, what its forms do."""
