//go:build !cgo

package main

import "github.com/sightline-edge/sightline/vision/infer"

// openBare needs ONNX Runtime, which a build without cgo can't load.
func openBare(string, string, int, infer.Provider) (*bareModel, error) {
	return nil, LeftOut("the bench was built without cgo")
}
