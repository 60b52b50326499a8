"""Where measurements are kept, and the instruments that put them there."""
