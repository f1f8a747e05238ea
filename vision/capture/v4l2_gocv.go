//go:build cgo && gocv

package capture

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"gocv.io/x/gocv"
)

func openDevice(o order) (reader, opened, error) {
	if _, err := os.Stat(o.At); err != nil {
		return nil, opened{}, bare(err)
	}
	var what any = o.At
	if n, err := strconv.Atoi(strings.TrimPrefix(o.At, "/dev/video")); err == nil {
		what = n
	}
	vc, err := gocv.OpenVideoCaptureWithAPI(what, gocv.VideoCaptureV4L2)
	if err != nil {
		return nil, opened{}, errors.New("the device gives no video: is another program using it, and may this user read it?")
	}
	return newVideoReader(vc, o, "v4l2")
}
