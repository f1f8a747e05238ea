// See lean.go.
#pragma once

// sightline_lean gives back C's free memory and lets go of the pages of all programs
// and libraries that nobody has written to. It returns how many bytes of addresses
// those are.
unsigned long sightline_lean(void);
