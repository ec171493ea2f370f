"""Tables that one or two notebooks show: what a reader need not see of them is here."""
