//go:build !cgo

package board

// askNVML is nil: without cgo the library can't be opened.
func askNVML() func() ([]GPU, []Problem) { return nil }
