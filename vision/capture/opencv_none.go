//go:build !cgo || !gocv

package capture

import (
	"context"
	"errors"
)

// HaveOpenCV tells whether OpenAll reads videos, RTSP and devices.
const HaveOpenCV = false

// OpenAll opens every source that this build can read: here those of OpenPlain.
func OpenAll(ctx context.Context, o order) (reader, opened, error) {
	if o.Kind.openCV() {
		return nil, opened{}, errors.New("sightline-capture was built without OpenCV: build it with make build on a machine where make setup has run")
	}
	return OpenPlain(ctx, o)
}
