//go:build cgo && (media || gocv)

package capture

import (
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision/scene/ipcam"
)

// TestRTSPAccess: GStreamer itself is refused, too, and is given user and
// password whatever characters they hold.
func TestRTSPAccess(t *testing.T) {
	t.Parallel()
	needFFmpeg(t)
	const user, password = "us er", `p"a:s/s@\ %41!`
	_, addr := rtspCamera(t, ipcam.RTSP{Stream: drawn(t, 320, 240, 25), Path: "/cam", User: user, Password: password})
	o := order{Kind: rtsp, At: "rtsp://" + addr + "/cam", Read: 2000}
	if _, _, err := openRTSP(t.Context(), o); !errors.Is(err, errDenied) {
		t.Errorf("without a password: %v", err)
	}
	o.User, o.Password = user, "wrong"
	if _, _, err := openRTSP(t.Context(), o); !errors.Is(err, errDenied) {
		t.Errorf("with a wrong password: %v", err)
	}
	o.Password = password
	opens(t, o)
	o.At = (&url.URL{Scheme: "rtsp", Host: addr, Path: "/cam", User: url.UserPassword(user, password)}).String()
	o.User, o.Password = "", ""
	opens(t, o)
}

func opens(t *testing.T, o order) {
	t.Helper()
	r, desc, err := openRTSP(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if desc.Width != 320 || desc.Height != 240 || desc.Codec != "h264" {
		t.Errorf("opened %+v", desc)
	}
	began := time.Now()
	r.Close()
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("closing took %v", d)
	}
}
