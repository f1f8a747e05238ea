//go:build cgo && linux

package lean

// #include "lean.h"
import "C"

func trim() { C.sightline_lean() }
