package capture

import (
	"context"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/scene/ipcam"
)

// TestPipelinesOfTheDocs runs the texts of docs/cameras.md with software elements
// in the place of hardware's.
func TestPipelinesOfTheDocs(t *testing.T) {
	t.Parallel()
	needMedia(t)
	needFFmpeg(t)
	doc, err := os.ReadFile("../../docs/cameras.md")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	camera := ipcam.RTSP{Stream: drawn(t, 160, 120, 25)}
	background(t, func(ctx context.Context) error { return camera.Serve(ctx, ln) })
	stand := strings.NewReplacer("nvarguscamerasrc sensor-id=0", "videotestsrc is-live=true", "(memory:NVMM)", "", "nvv4l2decoder", "avdec_h264",
		"nvvidconv", "videoconvert", "rtsp://192.0.2.10/cam", "rtsp://"+ln.Addr().String()+"/cam", "v4l2src device=/dev/video0", "videotestsrc is-live=true")
	texts := regexp.MustCompile(`(?m)^source: "(gst: .*)"$`).FindAllStringSubmatch(string(doc), -1)
	if len(texts) != 3 {
		t.Fatalf("%d texts, want 3", len(texts))
	}
	for n, text := range texts {
		r := start(t, config(stand.Replace(text[1])))
		f := r.next(15 * time.Second)
		if want := map[bool]vision.PixelFormat{true: vision.Gray8, false: vision.BGR24}[n == 2]; f.Format != want || !f.Valid() {
			t.Errorf("%s gives format %v of %dx%d", text[1], f.Format, f.Width, f.Height)
		}
		f.Release()
		r.stop()
		<-r.done
	}
}
