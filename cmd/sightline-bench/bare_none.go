//go:build !cgo

package main

// openBare needs ONNX Runtime, which a build without cgo can't load.
func openBare(string, string, int) (*bareModel, error) {
	return nil, LeftOut("the bench was built without cgo")
}
