//go:build !cgo || !(media || gocv)

package capture

import (
	"context"
	"errors"
)

// FindGenICam lists the GigE Vision and USB3 Vision cameras that answer; only
// sightline-capture built with GStreamer can.
func FindGenICam(context.Context) ([]Device, error) {
	return nil, errors.New("sightline-capture was built without cgo, so it can't look for industrial cameras: run make setup, then make build")
}
