//go:build !cgo || !(media || gocv)

package capture

import (
	"context"
	"errors"
)

// HaveMedia tells whether OpenAll reads recordings and cameras through FFmpeg,
// GStreamer and Aravis.
const HaveMedia = false

func openNative(context.Context, order) (reader, opened, error) {
	return nil, opened{}, errors.New("sightline-capture was built without FFmpeg and GStreamer: build it with make build on a machine where make setup has run")
}
