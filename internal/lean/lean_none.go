//go:build !cgo || !linux

package lean

func trim() {} // without C there is neither its heap nor its libraries
