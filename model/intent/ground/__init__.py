"""From an answer to items: the localiser, the encoder, the student, the live form."""
