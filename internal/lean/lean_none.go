//go:build !cgo || !linux

package lean

func trim() uint64 { return 0 } // without C there is neither its heap nor its libraries
