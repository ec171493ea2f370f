"""For a teacher: one link that opens the course for a class, and a table of what a class has answered."""
