"""A shop's own data as a whole: the folder and its rules, from repeats to the user's split."""
