package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"image/jpeg"
	"io"
	"math"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/vision/scene"
	"github.com/sightline-edge/sightline/vision/scene/ipcam"
)

// servedCamera is a running `scene serve`.
type servedCamera struct {
	lines []string // what it said of its addresses
	end   func() int
}

// serveScene runs `scene serve` until end, which gives the exit code.
func serveScene(t *testing.T, args ...string) servedCamera {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r, w := io.Pipe()
	var errs bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- cli.Run(ctx, newSceneCommand(), append([]string{"serve"}, args...), w, &errs)
		w.Close()
	}()
	var s servedCamera
	for lines := bufio.NewScanner(r); lines.Scan(); {
		s.lines = append(s.lines, lines.Text())
		if strings.HasPrefix(lines.Text(), "Ctrl-C") {
			break
		}
	}
	go io.Copy(io.Discard, r)
	ended := false
	s.end = func() int {
		ended = true
		stop()
		got := <-code
		if got != cli.Done {
			t.Logf("stderr: %s", errs.String())
		}
		return got
	}
	t.Cleanup(func() {
		if !ended {
			s.end()
		}
	})
	return s
}

// address is what follows the word at the beginning of a line.
func (s servedCamera) address(t *testing.T, word string) string {
	t.Helper()
	for _, l := range s.lines {
		if rest, ok := strings.CutPrefix(l, word+" "); ok {
			return rest
		}
	}
	t.Fatalf("no line %q in %q", word, s.lines)
	return ""
}

// look reads n pictures of an MJPEG camera and returns the size of the last.
func look(t *testing.T, url string, n int) (width, height int) {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	_, params, err := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(answer.Body, params["boundary"])
	for range n {
		p, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		c, err := jpeg.DecodeConfig(p)
		if err != nil {
			t.Fatal(err)
		}
		width, height = c.Width, c.Height
	}
	return width, height
}

func TestSceneServeMJPEG(t *testing.T) {
	file := filepath.Join(t.TempDir(), "truth.json")
	s := serveScene(t, "--mjpeg", "127.0.0.1:0", "--size", "320x180", "--rate", "50", "--seed", "3", "--defect-rate", "1", "--truth", file)
	url := s.address(t, "MJPEG:")
	if got := s.address(t, "inspect it:"); got != "sightline-agent try --source "+url+" --model drawn-parts" {
		t.Errorf("how to inspect it: %q", got)
	}
	if w, h := look(t, url, 30); w != 320 || h != 180 {
		t.Errorf("the pictures are %dx%d", w, h)
	}
	if code := s.end(); code != cli.Done {
		t.Fatalf("exit %d", code)
	}
	if _, err := http.Get(url); err == nil {
		t.Error("the camera still answers")
	}
	var truth servedTruth
	readJSON(t, file, &truth)
	if truth.Seed != 3 || truth.Rate != 50 || time.Since(truth.Began) > time.Minute || truth.Until < 0.5 || truth.Until > 60 {
		t.Errorf("%+v", truth)
	}
	if len(truth.Parts) == 0 {
		t.Fatal("no part came into view")
	}
	for _, p := range truth.Parts {
		if len(p.Defects) == 0 || p.Entered > truth.Until || p.Left <= p.Entered {
			t.Errorf("%+v", p)
		}
	}
}

// The truth ends with the last part that came into view, and has no holes.
func TestServedTruth(t *testing.T) {
	drawn, err := scene.New(scene.Config{Seed: 4})
	if err != nil {
		t.Fatal(err)
	}
	play := &served{Scene: drawn}
	if got := play.truth(); len(got.Parts) != 0 || got.Until != 0 || !got.Began.IsZero() {
		t.Errorf("nobody looked: %+v", got)
	}
	frame := drawn.NewFrame()
	before := time.Now()
	if err := play.Frame(1000, frame); err != nil {
		t.Fatal(err)
	}
	got := play.truth()
	if d := before.Add(-40 * time.Second).Sub(got.Began); d > 0 || d < -5*time.Second {
		t.Errorf("began at %v, want 40 s before %v", got.Began, before)
	}
	seen := drawn.Truth(1000)
	if last := seen[len(seen)-1].Part; len(got.Parts) != last.Index+1 || got.Parts[last.Index].ID != last.ID {
		t.Errorf("%d parts, the last in view is %s", len(got.Parts), last.ID)
	}
	if b, err := json.Marshal(got); err != nil || !bytes.Contains(b, []byte(`"until":40`)) || math.Abs(got.Until-40) > 1e-9 {
		t.Errorf("%s, %v", b[:min(len(b), 80)], err)
	}
}

func TestSceneServeRTSP(t *testing.T) {
	if !ipcam.HaveFFmpeg() {
		t.Skip("left out: no ffmpeg program")
	}
	s := serveScene(t, "--rtsp", "127.0.0.1:0", "--mjpeg", "127.0.0.1:0", "--size", "320x180")
	url := s.address(t, "H.264:")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-rtsp_transport", "tcp", "-i", url,
		"-frames:v", "5", "-pix_fmt", "gray", "-f", "rawvideo", "-").Output()
	if err != nil || len(out) != 5*320*180 {
		t.Errorf("%d bytes of %d, %v", len(out), 5*320*180, err)
	}
	look(t, s.address(t, "MJPEG:"), 2)
	if code := s.end(); code != cli.Done {
		t.Errorf("exit %d", code)
	}
}

func TestSceneServeWithoutFFmpeg(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	code, out, errs := runScene(t, "serve", "--rtsp", "127.0.0.1:0")
	if code != cli.Failed || out != "" || !strings.Contains(errs, "apt-get install ffmpeg") {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
}

func TestSceneServeWrongUse(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	taken := busy.Addr().String()
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"more"}, cli.WrongUse, `"more"`},
		{[]string{"--mjpeg", "8090"}, cli.WrongUse, `--mjpeg "8090": must be an address and a port`},
		{[]string{"--rtsp", "cam"}, cli.WrongUse, `--rtsp "cam"`},
		{[]string{"--size", "big"}, cli.WrongUse, `--size "big": must be width x height`},
		{[]string{"--size", "10x10"}, cli.WrongUse, "too small"},
		{[]string{"--rtsp", "127.0.0.1:0", "--size", "321x181"}, cli.WrongUse, "even sides"},
		{[]string{"--rate", "0"}, cli.WrongUse, "--rate 0"},
		{[]string{"--rate", "NaN"}, cli.WrongUse, "--rate NaN"},
		{[]string{"--speed", "-1"}, cli.WrongUse, "--speed -1"},
		{[]string{"--speed", "50"}, cli.WrongUse, "speed 50"},
		{[]string{"--defect-rate", "2"}, cli.WrongUse, "--defect-rate 2"},
		{[]string{"--mjpeg", taken}, cli.Failed, "another program is there already: stop that one, or choose another port with --mjpeg"},
		{[]string{"--mjpeg", "127.0.0.1:0", "--truth", t.TempDir()}, cli.Failed, "write the truth"},
	} {
		code, _, errs := runScene(t, append([]string{"serve"}, tt.args...)...)
		if code != tt.code || !strings.Contains(errs, tt.want) {
			t.Errorf("serve %v: exit %d, %q; want exit %d with %q", tt.args, code, errs, tt.code, tt.want)
		}
	}
	if !ipcam.HaveFFmpeg() {
		return
	}
	if code, _, errs := runScene(t, "serve", "--mjpeg", "127.0.0.1:0", "--rtsp", taken); code != cli.Failed || !strings.Contains(errs, "--rtsp") {
		t.Errorf("taken RTSP port: exit %d, %q", code, errs)
	}
}

// A defect rate of 0 means none; so it is in write.
func TestSceneServeGoodPartsOnly(t *testing.T) {
	file := filepath.Join(t.TempDir(), "truth.json")
	s := serveScene(t, "--mjpeg", "127.0.0.1:0", "--size", "320x180", "--defect-rate", "0", "--truth", file)
	look(t, s.address(t, "MJPEG:"), 3)
	if code := s.end(); code != cli.Done {
		t.Fatalf("exit %d", code)
	}
	b, err := os.ReadFile(file)
	if err != nil || bytes.Contains(b, []byte(`"bad": true`)) || !bytes.Contains(b, []byte(`"bad": false`)) {
		t.Errorf("%s, %v", b, err)
	}
}
