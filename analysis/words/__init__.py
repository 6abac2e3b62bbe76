"""What is said of a study: sentences, numbers and words for people."""
