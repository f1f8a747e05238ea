//go:build !cgo || !gocv

package capture

import (
	"context"
	"errors"
)

// HaveOpenCV tells whether OpenAll reads videos, RTSP and devices.
const HaveOpenCV = false

func openNative(context.Context, order) (reader, opened, error) {
	return nil, opened{}, errors.New("sightline-capture was built without OpenCV: build it with make build on a machine where make setup has run")
}
