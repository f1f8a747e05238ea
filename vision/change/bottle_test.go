package change_test

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/change"
)

const (
	bottleWidth, bottleHeight = 640, 360
	bottleRate                = 30
)

// bottles is the recording of bottles on a table that a hand takes and puts back.
func bottles(t *testing.T) string {
	t.Helper()
	data := os.Getenv("SIGHTLINE_REALDATA")
	if data == "" {
		t.Skip("SIGHTLINE_REALDATA is not set")
	}
	file := filepath.Join(data, "video/bottle-detection.mp4")
	if _, err := os.Stat(file); err != nil {
		t.Skip(err)
	}
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip(err)
	}
	return file
}

// recording gives each frame of a file, through FFmpeg's filters if there are
// any; a frame is valid until the next one.
func recording(t *testing.T, file, filters string) iter.Seq[*vision.Frame] {
	args := []string{"-v", "error", "-i", file}
	if filters != "" {
		args = append(args, "-vf", filters)
	}
	return func(yield func(*vision.Frame) bool) {
		cmd := exec.CommandContext(t.Context(), "ffmpeg", append(args, "-pix_fmt", "bgr24", "-f", "rawvideo", "-")...)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReaderSize(out, 1<<20)
		f := &vision.Frame{Width: bottleWidth, Height: bottleHeight, Stride: 3 * bottleWidth, Format: vision.BGR24}
		f.Pix = make([]byte, f.Stride*f.Height)
		for {
			_, err := io.ReadFull(in, f.Pix)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			f.Seq++
			if !yield(f) {
				t.Fatal("BUG: the test left a recording before its end")
			}
		}
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}

// writeBMP writes a frame as a bitmap.
func writeBMP(t *testing.T, name string, f *vision.Frame) {
	t.Helper()
	b := make([]byte, 54, 54+len(f.Pix))
	copy(b, "BM")
	binary.LittleEndian.PutUint32(b[2:], uint32(54+len(f.Pix)))
	binary.LittleEndian.PutUint32(b[10:], 54)
	binary.LittleEndian.PutUint32(b[14:], 40)
	binary.LittleEndian.PutUint32(b[18:], uint32(f.Width))
	binary.LittleEndian.PutUint32(b[22:], uint32(f.Height))
	binary.LittleEndian.PutUint16(b[26:], 1)
	binary.LittleEndian.PutUint16(b[28:], 24)
	for y := f.Height - 1; y >= 0; y-- { // the width is a multiple of 4
		b = append(b, f.Pix[y*f.Stride:][:3*f.Width]...)
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// predict runs the real agent with the real model over a folder of pictures, and
// gives what it saw by the pictures' names.
func predict(t *testing.T, folder string) map[string][]vision.Detection {
	t.Helper()
	agent := filepath.Join(os.Getenv("SIGHTLINE_BIN"), "sightline-agent")
	if os.Getenv("SIGHTLINE_BIN") == "" {
		t.Skip("SIGHTLINE_BIN is not set: no agent to run the model with")
	}
	model := filepath.Join(os.Getenv("SIGHTLINE_REALDATA"), "models/yolox_nano.onnx")
	cmd := exec.Command(agent, "predict", "--model", model, "--labels", "coco", "--conf", "0.1", "--images", folder)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]vision.Detection{}
	for line := range strings.Lines(string(out)) {
		var p struct {
			Image      string
			Detections []struct {
				Label string
				Score float32
				Box   [4]float32
			}
		}
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(p.Image)
		all[name] = []vision.Detection{}
		for _, d := range p.Detections {
			all[name] = append(all[name], vision.Detection{Label: d.Label, Score: d.Score, Box: vision.Box{X: d.Box[0], Y: d.Box[1], W: d.Box[2], H: d.Box[3]}})
		}
	}
	return all
}

func bmp(seq uint64) string { return fmt.Sprintf("%05d.bmp", seq) }

// Of the real recording a third is skipped, and the real model sees in skipped
// frames what it saw in those that stand for them: tried on one in sixteen.
func TestBottlesSkipped(t *testing.T) {
	file, folder := bottles(t), t.TempDir()
	g := change.New(change.Config{})
	kept := &vision.Frame{}
	stands := map[uint64]uint64{} // the skipped frame, and the one that stands for it
	for f := range recording(t, file, "") {
		if g.Pass(f, time.Duration(f.Seq)*time.Second/bottleRate) {
			pix := append(kept.Pix[:0], f.Pix...)
			*kept = *f
			kept.Pix = pix
			continue
		}
		if g.Stats().Skipped%16 == 0 {
			stands[f.Seq] = kept.Seq
			writeBMP(t, filepath.Join(folder, bmp(f.Seq)), f)
			writeBMP(t, filepath.Join(folder, bmp(kept.Seq)), kept)
		}
	}
	s := g.Stats()
	t.Logf("%d of %d frames skipped: %+v", s.Skipped, s.Skipped+s.Passed(), s)
	if s.Skipped*100 < 25*(s.Skipped+s.Passed()) {
		t.Errorf("less than a quarter of the frames was skipped")
	}
	seen := predict(t, folder)
	for skipped, stand := range stands {
		a, b := bottlesIn(seen[bmp(skipped)]), bottlesIn(seen[bmp(stand)])
		if len(a) != len(b) {
			t.Errorf("frame %d shows %d bottles, and frame %d, which stands for it, %d", skipped, len(a), stand, len(b))
			continue
		}
		for _, d := range a {
			best := float32(0)
			for _, e := range b {
				best = max(best, d.Box.IoU(e.Box))
			}
			if best < 0.8 {
				t.Errorf("frame %d: a bottle lies elsewhere in frame %d, which stands for it (IoU %.2f)", skipped, stand, best)
			}
		}
	}
}

func bottlesIn(all []vision.Detection) (some []vision.Detection) {
	for _, d := range all {
		if d.Label == "bottle" && d.Score >= 0.5 {
			some = append(some, d)
		}
	}
	return some
}

// The whole recording, and others made of it, through the real model: each part
// is seen with the gate as it is without.
func TestBottleCounts(t *testing.T) {
	file := bottles(t)
	if os.Getenv("SIGHTLINE_FAULTS") != "full" {
		t.Skip("the model looks at every frame of each recording: with SIGHTLINE_FAULTS=full")
	}
	for _, c := range []struct{ name, filters, encoder string }{
		{"as recorded", "", ""},
		{"heavy noise", "noise=alls=25:allf=t", ""},
		{"noise", "noise=alls=8:allf=t", ""},
		{"light that swells", "eq=brightness='0.12*sin(t/2)':eval=frame", ""},
		{"light that fades", "fade=t=in:st=5:d=15:alpha=0", ""},
		{"shaking", "crop=632:352:'4+2*sin(n*1.9)':'4+2*cos(n*2.3)',scale=640:360", ""},
		{"slow pan", "crop=560:315:'t*2':'22',scale=640:360", ""},
		{"slow zoom", "zoompan=z='1+0.0002*on':d=1:s=640x360:fps=30", ""},
		{"low contrast", "eq=contrast=0.35", ""},
		{"half as slow", "setpts=2*PTS,fps=30,trim=end_frame=1800", ""},
		{"low bitrate, a key frame each 15", "", "-b:v 120k -g 15 -keyint_min 15"},
		{"low bitrate, a key frame each 250", "", "-b:v 120k -g 250"},
		{"MJPEG", "", "-c:v mjpeg -q:v 12"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := counted(t, encoded(t, file, c.encoder), c.filters)
			t.Logf("%d frames, %.0f %% skipped; %d parts without the gate, %d with it; %+v", s.frames, s.share(), len(s.whole), len(s.gated), s.stats)
			s.same(t, 3)
		})
	}
}

// encoded is the recording encoded once more.
func encoded(t *testing.T, file, options string) string {
	if options == "" {
		return file
	}
	out := filepath.Join(t.TempDir(), "again.mkv")
	args := append([]string{"-v", "error", "-i", file, "-an"}, strings.Fields(options)...)
	if b, err := exec.Command("ffmpeg", append(args, out)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	return out
}

// counted shows a recording to the model, frame by frame, and then through a gate.
func counted(t *testing.T, file, filters string) *shown {
	folder := t.TempDir()
	for f := range recording(t, file, filters) {
		writeBMP(t, filepath.Join(folder, bmp(f.Seq)), f)
	}
	seen := predict(t, folder)
	next, stop := iter.Pull(recording(t, file, filters))
	defer stop()
	return show(film{rate: bottleRate, next: func(int) (*vision.Frame, []vision.Detection, bool) {
		f, ok := next()
		if !ok {
			return nil, nil, false
		}
		return f, seen[bmp(f.Seq)], true
	}})
}
