"""What the doctor tries, one after the other: each probe looks at one thing and tells what it found."""
