package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision/scene/ipcam"
)

// recording is one of the bottle video.
type recording struct {
	path    string
	frames  uint64
	bottles int // those in view at its start and each one that a hand puts down, watched by a person
}

// bottleVideo is the recording as far as one bottle has been taken away and another
// put down, with SIGHTLINE_FAULTS=full all of it.
func bottleVideo(t *testing.T) recording {
	t.Helper()
	all := recording{realData(t, "video/bottle-detection.mp4"), 1189, 7}
	if full() || !ipcam.HaveFFmpeg() {
		return all
	}
	part := recording{filepath.Join(t.TempDir(), "bottles.mp4"), 440, 4}
	if out, err := exec.Command("ffmpeg", "-v", "error", "-i", all.path, "-frames:v", "440", "-c", "copy", part.path).CombinedOutput(); err != nil {
		t.Fatalf("cut %s: %v: %s", all.path, err, out)
	}
	return part
}

// trial is what try --json printed.
type trial struct {
	parts   []string // IDs
	summary struct {
		Kind     string
		Captured uint64 `json:"frames_captured"`
		Inferred uint64 `json:"frames_inferred"`
		Dropped  uint64 `json:"frames_dropped"`
		Parts    int
		Cut      string
	}
}

func readTrial(t *testing.T, out []byte) trial {
	t.Helper()
	var r trial
	seen := map[string]bool{}
	for line := range bytes.Lines(out) {
		var part struct{ Kind, ID string }
		if err := json.Unmarshal(line, &part); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if part.Kind == "summary" {
			if err := json.Unmarshal(line, &r.summary); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if seen[part.ID] {
			t.Errorf("part %s was told twice", part.ID)
		}
		seen[part.ID] = true
		r.parts = append(r.parts, part.ID)
	}
	if r.summary.Kind != "summary" || r.summary.Parts != len(r.parts) {
		t.Errorf("%d parts were printed, the summary is %+v", len(r.parts), r.summary)
	}
	return r
}

func countBottles(t *testing.T, source string, more ...string) *process {
	t.Helper()
	agent := agentProgram(t)
	program(t, "sightline-capture")
	return start(t, agent, append([]string{"try", "--source", source, "--model", realData(t, "models/yolox_nano.onnx"),
		"--labels", "coco", "--count", "bottle", "--json"}, more...)...)
}

// TestBottleVideo counts the bottles of the recording, every frame of it, while
// its workers are killed with -9.
func TestBottleVideo(t *testing.T) {
	t.Parallel()
	address, video := freeAddress(t), bottleVideo(t)
	p := countBottles(t, video.path, "--serve", address)
	for n, kind := range []string{"capture", "infer", "capture"} {
		slowly(t, "more frames", func() bool { return inspected(address) > uint64(2*n+1)*video.frames/12 })
		killed(t, p.cmd.Process.Pid, kind)
	}
	p.ends(3 * time.Minute)
	r := readTrial(t, p.stdout.Bytes())
	if r.summary.Captured != video.frames || r.summary.Inferred != video.frames || r.summary.Dropped != 0 {
		t.Errorf("summary is %+v, want all %d frames", r.summary, video.frames)
	}
	if len(r.parts) != video.bottles {
		t.Errorf("%d bottles counted, want %d", len(r.parts), video.bottles)
	}
}

// TestBottleCamera counts them again as a live camera plays the recording once
// at its own rate.
func TestBottleCamera(t *testing.T) {
	t.Parallel()
	if !ipcam.HaveFFmpeg() {
		t.Skip("left out: no ffmpeg")
	}
	agentProgram(t)
	video := bottleVideo(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	source := "rtsp://" + ln.Addr().String() + "/cam"
	ctx, cancel := context.WithCancel(t.Context())
	played := make(chan error, 1)
	camera := ipcam.RTSP{Stream: ipcam.Recording(video.path, false), Rate: 30, Path: "/cam", Wait: true}
	go func() { played <- camera.Serve(ctx, ln) }()
	address := freeAddress(t)
	p := countBottles(t, source, "--serve", address)
	select {
	case err = <-played:
	case <-p.done:
	case <-time.After(3 * time.Minute):
		t.Error("the recording isn't over after 3 minutes")
	}
	eventually(t, "the last picture", func() bool {
		var s struct {
			Cameras []struct{ State string }
		}
		return get(address, "/v1/cameras", &s) && s.Cameras[0].State != "streaming"
	})
	p.stop()
	cancel()
	if err != nil {
		t.Error(err)
	}
	r := readTrial(t, p.stdout.Bytes())
	t.Logf("%+v", r.summary)
	if r.summary.Inferred*5 < r.summary.Captured*4 {
		t.Skipf("left out: this machine was too busy, %d of %d frames were dropped", r.summary.Dropped, r.summary.Captured)
	}
	if len(r.parts) != video.bottles {
		t.Errorf("%d bottles counted, want %d: %s", len(r.parts), video.bottles, strings.TrimSpace(p.stdout.String()))
	}
}
