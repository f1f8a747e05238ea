package capture

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/scene/ipcam"
)

// barcode draws the frame's number as squares of black and white, in every row
// of squares anew and each row turned by one, under noise that makes pictures of
// many packets. A picture that lacks a packet, or was made from one that does,
// has rows that differ or squares that are gray.
type barcode struct {
	mu    sync.Mutex
	drawn map[int]time.Time
}

const (
	square = 20 // pixels
	bits   = 16 // squares a row
)

func newBarcode() *barcode { return &barcode{drawn: map[int]time.Time{}} }

func (d *barcode) Frame(n int, dst *vision.Frame) error {
	d.mu.Lock()
	d.drawn[n] = time.Now()
	d.mu.Unlock()
	seed := uint32(n)*2654435761 + 1
	for y := range dst.Height {
		row := dst.Pix[y*dst.Stride:]
		for x := range dst.Width {
			seed = seed*1664525 + 1013904223
			v := byte(40 + seed>>28)
			if n>>((x*bits/dst.Width+y/square)%bits)&1 == 1 {
				v += 160
			}
			row[3*x], row[3*x+1], row[3*x+2] = v, v, v
		}
	}
	return nil
}

// when a frame was drawn.
func (d *barcode) when(n int) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.drawn[n]
}

// read finds the number in a picture that is whole.
func (d *barcode) read(f *Frame) (int, error) {
	number := -1
	for y := square / 2; y < f.Height; y += square {
		n := 0
		for i := range bits {
			x := (2*i + 1) * f.Width / bits / 2
			sum := 0
			for dy := -4; dy < 4; dy++ {
				for dx := -4; dx < 4; dx++ {
					sum += int(f.Pix[(y+dy)*f.Stride+3*(x+dx)])
				}
			}
			switch mean := sum / 64; {
			case mean > 185 && mean < 230:
				n |= 1 << ((i + y/square) % bits)
			case mean < 25 || mean > 70:
				return 0, fmt.Errorf("square %d of row %d is %d", i, y/square, mean)
			}
		}
		if number >= 0 && n != number {
			return 0, fmt.Errorf("row %d has the number %d, those before it %d", y/square, n, number)
		}
		number = n
	}
	return number, nil
}

// barcodeCamera is an RTSP camera of barcode pictures.
func barcodeCamera(t *testing.T, codec ipcam.Codec, rate float64, c ipcam.RTSP) (*barcode, string) {
	t.Helper()
	d := newBarcode()
	s, err := ipcam.Drawn(ipcam.Drawing{Drawer: d, Width: 320, Height: 240, Rate: rate, Codec: codec})
	if err != nil {
		t.Fatal(err)
	}
	c.Stream, c.Codec, c.Rate, c.Path = s, codec, rate, "/cam"
	_, addr := rtspCamera(t, c)
	return d, "rtsp://" + addr + "/cam"
}

// TestRTSPLosses: while packets get lost or come as noise, whatever is handed
// over is whole and the picture of its time; what isn't handed over is counted.
func TestRTSPLosses(t *testing.T) {
	t.Parallel()
	needFFmpeg(t)
	cases := []struct {
		codec     ipcam.Codec
		transport string
		script    ipcam.Script
	}{
		{ipcam.H264, "udp", ipcam.Script{Loss: 0.02, Seed: 1}},
		{ipcam.H265, "udp", ipcam.Script{Loss: 0.02, Seed: 2}},
		{ipcam.H264, "tcp", ipcam.Script{Garbage: 0.02, Seed: 3}},
		{ipcam.H264, "tcp", ipcam.Script{LoseEvery: 37}},
		{ipcam.H265, "tcp", ipcam.Script{Garbage: 0.02, Seed: 4}},
		{ipcam.H264, "udp", ipcam.Script{Loss: 0.05, Seed: 5}},
		{ipcam.H265, "udp", ipcam.Script{Loss: 0.01, Seed: 6}},
		{ipcam.H264, "udp", ipcam.Script{}},
		{ipcam.H265, "tcp", ipcam.Script{}},
	}
	lasting := 2 * time.Minute
	if !full {
		cases, lasting = cases[:2], time.Second
	}
	for _, c := range cases {
		t.Run(fmt.Sprintf("%v %s loss %v every %d noise %v", c.codec, c.transport, c.script.Loss, c.script.LoseEvery, c.script.Garbage), func(t *testing.T) {
			t.Parallel()
			control := &ipcam.Control{}
			d, addr := barcodeCamera(t, c.codec, 25, ipcam.RTSP{Control: control})
			cfg := config(addr)
			cfg.Transport = c.transport
			r := start(t, cfg)
			r.next(10 * time.Second).Release()
			control.Set(c.script)
			given, wrong, restarts := 0, 0, uint64(0)
			look := func() {
				ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
				defer cancel()
				f, err := r.Next(ctx)
				if err != nil {
					t.Fatalf("%v (%+v)", err, r.Stats())
				}
				defer f.Release()
				n, err := d.read(f)
				if err != nil {
					wrong++
					t.Logf("frame %d: %v", f.Seq, err)
				} else if age := f.Captured.Sub(d.when(n)); age < -200*time.Millisecond || age > 2*time.Second {
					t.Errorf("frame %d is of %v after it was drawn", f.Seq, age)
				}
				given++
			}
			for began := time.Now(); time.Since(began) < lasting; {
				look()
			}
			s := r.Stats()
			restarts = s.Restarts
			control.Set(ipcam.Script{})
			for range 10 {
				look()
			}
			t.Logf("%d given, %d wrong, %d incomplete, %d unreadable, %d restarts (%s), %d packets lost", given, wrong, s.Dropped.Incomplete, s.Dropped.Unreadable, restarts, s.LastError, control.Counts().Lost)
			if wrong > 0 {
				t.Errorf("%d of %d pictures aren't whole", wrong, given)
			}
			if ill := c.script.Loss+c.script.Garbage > 0 || c.script.LoseEvery > 0; ill != (s.Dropped.Incomplete > 0) {
				t.Errorf("%d are counted as incomplete", s.Dropped.Incomplete)
			}
		})
	}
}
