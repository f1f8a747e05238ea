//go:build cgo && (media || gocv)

package capture

import (
	"context"
	"runtime"
)

// HaveMedia tells whether OpenAll reads recordings and cameras through FFmpeg,
// GStreamer and Aravis.
const HaveMedia = true

// openNative opens what needs a library.
func openNative(ctx context.Context, o order) (reader, opened, error) {
	switch o.Kind {
	case video:
		return openFilm(o)
	case rtsp:
		runtime.GOMAXPROCS(1) // one goroutine does it all, and each more would keep the runtime's monitor awake: 0.3 ms a picture
		if err := askRTSP(ctx, o); err != nil {
			return nil, opened{}, err
		}
		return openRTSP(ctx, o)
	case device:
		return openDevice(o)
	case genICam:
		return openGenICam(ctx, o)
	}
	runtime.GOMAXPROCS(1)
	return openPipeline(ctx, o)
}
