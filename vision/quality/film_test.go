package quality_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sightline-edge/sightline/vision"
)

func ffmpeg(t testing.TB, args string, more ...string) *exec.Cmd {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("left out: no ffmpeg program")
	}
	cmd := exec.Command("ffmpeg", append(append([]string{"-v", "error"}, more...), strings.Fields(args)...)...)
	var said bytes.Buffer
	cmd.Stderr = &said // a reader that has seen enough makes it complain
	t.Cleanup(func() {
		if t.Failed() && said.Len() > 0 {
			t.Logf("ffmpeg: %s", said.Bytes())
		}
	})
	return cmd
}

// coded passes n frames of a film through an encoder and back, as a network
// camera would. The frames must be asked for in order.
func coded(t testing.TB, f film, n int, rate int, encoder string) film {
	t.Helper()
	first := *f(0)
	size := fmt.Sprintf("-f rawvideo -pix_fmt bgr24 -s %dx%d -r %d -i - ", first.Width, first.Height, rate)
	container := "h264"
	if strings.Contains(encoder, "mjpeg") {
		container = "mjpeg"
	}
	enc := ffmpeg(t, size+encoder+" -f "+container+" -")
	in, err := enc.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stream bytes.Buffer
	enc.Stdout = &stream
	if err := enc.Start(); err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriterSize(in, 1<<20)
	for i := range n {
		if _, err := w.Write(f(i).Pix); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	in.Close() // what went wrong is told by Wait
	if err := enc.Wait(); err != nil {
		t.Fatal(err)
	}
	dec := ffmpeg(t, "-f "+container+" -i - -f rawvideo -pix_fmt bgr24 -")
	dec.Stdin = &stream
	return reading(t, dec, first.Width, first.Height)
}

// reading gives the frames that a program writes, in order.
func reading(t testing.TB, cmd *exec.Cmd, w, h int) film {
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		out.Close()
		_ = cmd.Wait() // it may have been cut short
	})
	r := bufio.NewReaderSize(out, 1<<20)
	f := &vision.Frame{Pix: make([]byte, w*h*3), Width: w, Height: h, Stride: w * 3, Format: vision.BGR24}
	return func(int) *vision.Frame {
		if _, err := io.ReadFull(r, f.Pix); err != nil {
			t.Fatalf("read a decoded frame: %v", err)
		}
		return f
	}
}

// bottles is the video of bottles on a table, 1,189 frames at 30 a second in
// grey, over and over.
func bottles(t testing.TB) film {
	root := os.Getenv("SIGHTLINE_REALDATA")
	if root == "" {
		t.Skip("left out: SIGHTLINE_REALDATA names no folder of real pictures")
	}
	pix, err := ffmpeg(t, "-f rawvideo -pix_fmt gray -", "-i", filepath.Join(root, "video", "bottle-detection.mp4")).Output()
	const w, h = 640, 360
	if err != nil || len(pix) < 1000*w*h {
		t.Fatalf("decode the video: %v, %d bytes", err, len(pix))
	}
	f := &vision.Frame{Width: w, Height: h, Stride: w, Format: vision.Gray8}
	return func(n int) *vision.Frame {
		f.Pix = pix[n%(len(pix)/(w*h))*w*h:][:w*h]
		return f
	}
}

// lamp is a light that swings; what reaches a row is its mean over the
// exposure.
type lamp struct {
	mains    float64 // swings a second
	depth    float64 // 1 goes out wholly
	exposure float64 // seconds
	readout  float64 // seconds from the first row to the last; 0: a global shutter
	phase    float64
}

// effective is the amplitude that is left in the pictures.
func (l lamp) effective() float64 {
	x := math.Pi * l.mains * l.exposure
	return l.depth * math.Abs(math.Sin(x)/x)
}

// lit shows the film by that light.
func lit(f film, l lamp, fps float64) film {
	var out *vision.Frame
	return func(n int) *vision.Frame {
		src := f(n)
		if out == nil {
			out = clone(src)
		}
		row := src.Width * src.Format.Channels()
		for y := range src.Height {
			t := float64(n)/fps + l.readout*float64(y)/float64(src.Height)
			g := int(256 * (1 + l.effective()*math.Sin(2*math.Pi*l.mains*t+l.phase)) * 0.8)
			to := out.Pix[y*out.Stride:][:row]
			for i, v := range src.Pix[y*src.Stride:][:row] {
				to[i] = byte(min(int(v)*g>>8, 255))
			}
		}
		return out
	}
}
