package capture

import (
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// testPipeline is drawn by GStreamer: 320x240, 30/s.
const testPipeline = "videotestsrc is-live=true pattern=smpte75 ! video/x-raw,width=322,height=242,framerate=30/1,format="

func TestPipelines(t *testing.T) {
	t.Parallel()
	needMedia(t)
	for _, c := range []struct {
		name, pipeline string
		gray           bool
		timing         vision.Timing
	}{
		{"BGR to an appsink", testPipeline + "BGR ! appsink", false, vision.Arrived},
		{"gray to an appsink", testPipeline + "GRAY8 ! appsink", true, vision.Arrived},
		{"without an appsink", testPipeline + "I420", false, vision.Arrived},
		{"gray without an appsink", testPipeline + "GRAY8", true, vision.Arrived},
		{"BGR of rows with gaps, named sink", testPipeline + "RGBx ! videoconvert ! video/x-raw,format=BGR ! appsink name=mine drop=true max-buffers=2", false, vision.Arrived},
		{"that isn't live", strings.Replace(testPipeline, "is-live=true ", "", 1) + "BGR ! appsink", false, vision.Read},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, config("gst: "+c.pipeline))
			for range 3 {
				f := r.next(15 * time.Second)
				if f.Width != 322 || f.Height != 242 || (f.Format == vision.Gray8) != c.gray || f.Timing != c.timing {
					t.Errorf("%v of %dx%d, time %v", f.Format, f.Width, f.Height, f.Timing)
				}
				if c.gray && (f.Pix[20*f.Stride] < 180 || f.Pix[20*f.Stride+300] > 50) {
					t.Errorf("gray begins with % d", f.Pix[20*f.Stride:][:10])
				}
				if !c.gray {
					isBars(t, f)
				}
				if age := time.Since(f.Captured); age < 0 || age > time.Second {
					t.Errorf("frame is %v old", age)
				}
				f.Release()
			}
			if s := r.Stats(); s.AnnouncedRate != 30 || s.Reader != "gstreamer" {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

func TestPipelineReasons(t *testing.T) {
	t.Parallel()
	needMedia(t)
	for _, c := range []struct{ name, pipeline, want string }{
		{"a missing element", "nosuchelement ! appsink", `no element "nosuchelement"`},
		{"a missing property", "videotestsrc nosuch=1 ! appsink", `no property "nosuch"`},
		{"no syntax", "videotestsrc ! ! appsink", "syntax error"},
		{"another format", testPipeline + "I420 ! appsink", "! videoconvert ! video/x-raw,format=BGR ! appsink"},
		{"no picture", "audiotestsrc is-live=true ! appsink", "the appsink gets audio/x-raw"},
		{"two sinks", testPipeline + "BGR ! tee name=t t. ! queue ! appsink t. ! queue ! appsink", "one appsink"},
		{"a source that fails", "filesrc location=/nowhere/at/all ! decodebin ! videoconvert ! video/x-raw,format=BGR ! appsink", "No such file"},
		{"an end", "videotestsrc num-buffers=2 ! video/x-raw,format=BGR ! appsink", "closed the stream"},
		{"a secret", "rtspsrc location=rtsp://u:hush@127.0.0.1:1/ user-id=u user-pw=hush ! decodebin ! videoconvert ! video/x-raw,format=BGR ! appsink", "rtspsrc0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, config("gst:"+c.pipeline))
			eventually(t, 15*time.Second, "the reason", func() bool { return strings.Contains(r.Stats().LastError, c.want) })
			if e := r.Stats().LastError; strings.Contains(e, "hush") {
				t.Errorf("reason is %q", e)
			} else {
				t.Log(e)
			}
		})
	}
}

// TestPipelineThatIsFaster: what nobody asks for in time is passed over, the
// newest is given, and each is counted.
func TestPipelineThatIsFaster(t *testing.T) {
	t.Parallel()
	needMedia(t)
	cfg := config("gst: videotestsrc is-live=true ! video/x-raw,width=1920,height=1080,framerate=500/1,format=BGR ! appsink")
	r := start(t, cfg)
	eventually(t, 15*time.Second, "pictures passed over", func() bool {
		s := r.Stats().Dropped
		return s.Late+s.Overwritten+s.NoSlot > 20
	})
	f := r.next(5 * time.Second)
	defer f.Release()
	if age := time.Since(f.Captured); age > time.Second {
		t.Errorf("a picture is %v old", age)
	}
}
