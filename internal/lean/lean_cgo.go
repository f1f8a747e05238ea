//go:build cgo && linux

package lean

// #include "lean.h"
import "C"

// trim tells of how many bytes of addresses it let go.
func trim() uint64 { return uint64(C.sightline_lean()) }
