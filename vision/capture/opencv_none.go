//go:build !cgo || !gocv

package capture

// HaveOpenCV tells whether OpenAll reads V4L2 devices.
const HaveOpenCV = false
