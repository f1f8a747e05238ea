package capture

import (
	"context"
	"errors"
)

// OpenPlain opens the sources that need no library: pictures, folders of them,
// HTTP, and programs that write raw frames.
func OpenPlain(ctx context.Context, o order) (reader, opened, error) {
	switch o.Kind {
	case pictureOne:
		return &folderReader{paths: []string{o.At}}, opened{Codec: "picture", Reader: "go"}, nil
	case folder:
		r, err := openFolder(o.At)
		return r, opened{Codec: "pictures", Reader: "go"}, err
	case watched:
		return openWatched(o)
	case program:
		return openProgram(ctx, o)
	case httpCamera:
		return openHTTP(ctx, o)
	}
	return nil, opened{}, errors.New("this source needs sightline-capture, the program with FFmpeg and GStreamer: install it with make setup and make build")
}

// OpenAll opens every source: those of OpenPlain in plain Go, the rest through
// libraries where this program was built with them (HaveMedia, HaveOpenCV).
func OpenAll(ctx context.Context, o order) (reader, opened, error) {
	if !o.Kind.native() {
		return OpenPlain(ctx, o)
	}
	return openNative(ctx, o)
}
