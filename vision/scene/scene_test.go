package scene

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/vision"
)

func mustNew(t testing.TB, cfg Config) *Scene {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustDraw(t testing.TB, s *Scene, n int) *vision.Frame {
	t.Helper()
	f := s.NewFrame()
	if err := s.Frame(n, f); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestGolden pins the pictures: the demo model was trained on them, and a seed
// in a bug report must show the same thing for ever and on every machine.
func TestGolden(t *testing.T) {
	tests := []struct {
		cfg    Config
		frame  int
		sha256 string
	}{
		{Config{}, 0, "8c3c78a2c41bf24f"},
		{Config{Seed: 7, DefectRate: 1}, 123, "913f1b0ffcd420b2"},
		{Config{Seed: 7, DefectRate: 1, RightToLeft: true, Width: 640, Height: 480, Rate: 30}, 4000, "dfd78e082bbf5ac0"},
		{Config{Seed: 1 << 63, Width: 161, Height: 97, Speed: 2}, 90_000, "79e692a2d20d6967"},
	}
	for _, tt := range tests {
		f := mustDraw(t, mustNew(t, tt.cfg), tt.frame)
		sum := sha256.Sum256(f.Pix)
		if got := hex.EncodeToString(sum[:8]); got != tt.sha256 {
			t.Errorf("%+v frame %d: sha256 %s…, want %s…", tt.cfg, tt.frame, got, tt.sha256)
		}
	}
}

// TestGoldenTruth pins what the golden pictures show.
func TestGoldenTruth(t *testing.T) {
	s := mustNew(t, Config{Seed: 7, DefectRate: 1})
	var got []string
	for _, p := range s.Truth(123) {
		line := fmt.Sprintf("%s %.2f,%.2f %.2f", p.Part.ID, p.Box.X, p.Box.Y, p.Visible)
		for _, d := range p.Defects {
			line += fmt.Sprintf(" %s %.1f", d.Kind, d.Contrast)
		}
		got = append(got, line)
	}
	want := []string{
		"part-000003 731.11,142.96 0.22 scratch 45.7",
		"part-000004 203.31,146.77 1.00 chip 50.0",
		"part-000005 11.90,127.17 1.00 stain 41.8",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("truth of frame 123 (-want +got):\n%s", diff)
	}
}

func TestAnyOrderDrawsTheSame(t *testing.T) {
	cfg := Config{Seed: 3, Width: 320, Height: 180, DefectRate: 0.5}
	inOrder := mustNew(t, cfg)
	want := map[int][]byte{}
	f := inOrder.NewFrame()
	for n := range 60 {
		if err := inOrder.Frame(n, f); err != nil {
			t.Fatal(err)
		}
		want[n] = bytes.Clone(f.Pix)
	}
	jumping := mustNew(t, cfg)
	for _, n := range []int{59, 0, 31, 30, 58, 1} {
		if f := mustDraw(t, jumping, n); !bytes.Equal(f.Pix, want[n]) {
			t.Errorf("frame %d differs when drawn out of order", n)
		}
	}
}

func TestOtherSeedIsAnotherWorld(t *testing.T) {
	a, b := mustNew(t, Config{Seed: 1}), mustNew(t, Config{Seed: 2})
	if bytes.Equal(mustDraw(t, a, 50).Pix, mustDraw(t, b, 50).Pix) {
		t.Error("seeds 1 and 2 give the same picture")
	}
	if cmp.Equal(a.Truth(50), b.Truth(50)) {
		t.Error("seeds 1 and 2 give the same truth")
	}
}

func TestFrameTellsWhatItIs(t *testing.T) {
	s := mustNew(t, Config{Rate: 20})
	f := mustDraw(t, s, 30)
	if f.Seq != 30 || f.Media != 1500*time.Millisecond {
		t.Errorf("frame 30 at 20/s: Seq %d at %v, want 30 at 1.5s", f.Seq, f.Media)
	}
}

func TestFrameRespectsStride(t *testing.T) {
	s := mustNew(t, Config{Seed: 5})
	tight := mustDraw(t, s, 10)
	wide := &vision.Frame{Width: tight.Width, Height: tight.Height, Stride: tight.Stride + 64, Format: vision.BGR24}
	wide.Pix = bytes.Repeat([]byte{0xA5}, wide.Stride*wide.Height)
	if err := s.Frame(10, wide); err != nil {
		t.Fatal(err)
	}
	for y := range tight.Height {
		row := wide.Pix[y*wide.Stride : (y+1)*wide.Stride]
		if !bytes.Equal(row[:tight.Stride], tight.Pix[y*tight.Stride:(y+1)*tight.Stride]) {
			t.Fatalf("row %d differs in a wider buffer", y)
		}
		if !bytes.Equal(row[tight.Stride:], bytes.Repeat([]byte{0xA5}, 64)) {
			t.Fatalf("row %d: bytes behind the picture were written", y)
		}
	}
}

func TestFrameRefuses(t *testing.T) {
	s := mustNew(t, Config{})
	good := s.NewFrame()
	grey, small, short := *good, *good, *good
	grey.Format = vision.Gray8
	small.Width = 100
	short.Pix = short.Pix[:len(short.Pix)-1]
	tests := []struct {
		name string
		n    int
		dst  *vision.Frame
		want string
	}{
		{"grey", 0, &grey, "must be BGR of 768x432"},
		{"other size", 0, &small, "got 100x432"},
		{"short buffer", 0, &short, "must be BGR"},
		{"before the start", -1, good, "frames count from 0"},
	}
	for _, tt := range tests {
		if err := s.Frame(tt.n, tt.dst); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
	}
}

func TestBadConfig(t *testing.T) {
	tests := []struct {
		cfg  Config
		want string
	}{
		{Config{Width: 640}, "scene: size 640x0: both sides must be more than 0"},
		{Config{Width: -1, Height: 480}, "scene: size -1x480: both sides must be more than 0"},
		{Config{Width: 5000, Height: 480}, "scene: size 5000x480: at most 4096 pixels a side"},
		{Config{Width: 100, Height: 480}, "scene: size 100x480: too small to show a defect, at least 154x87"},
		{Config{Rate: -5}, "scene: rate -5 frames/s: must be 0.1 to 1000"},
		{Config{Rate: 1e6}, "scene: rate 1e+06 frames/s: must be 0.1 to 1000"},
		{Config{Speed: 9}, "scene: speed 9: must be 0.05 to 4 times the belt's own"},
		{Config{DefectRate: 1.5}, "scene: defect rate 1.5: must be at most 1"},
	}
	for _, tt := range tests {
		_, err := New(tt.cfg)
		if err == nil || err.Error() != tt.want {
			t.Errorf("New(%+v): %v, want %s", tt.cfg, err, tt.want)
		}
	}
}

func FuzzNew(f *testing.F) {
	f.Add(320, 180, 25.0, 1.0, 0.12, uint64(1), 10)
	f.Add(155, 400, 0.1, 4.0, 1.0, uint64(0), 100_000)
	f.Add(283, 156, 57.0, 1.0, 0.04, uint64(0), 10) // shares of more than 1, by rounding
	f.Add(0, 0, -1.0, 0.0, -1.0, uint64(9), -1)
	f.Fuzz(func(t *testing.T, w, h int, rate, speed, bad float64, seed uint64, n int) {
		if w > 400 || h > 400 || n > 1_000_000 {
			t.Skip("larger than a fuzzer should draw")
		}
		s, err := New(Config{Width: w, Height: h, Rate: rate, Speed: speed, DefectRate: bad, Seed: seed})
		if err != nil {
			return
		}
		err = s.Frame(n, s.NewFrame())
		if (err == nil) != (n >= 0) {
			t.Fatalf("frame %d: %v", n, err)
		}
		if n < 0 {
			return
		}
		for _, p := range s.Truth(n) {
			if p.Visible <= 0 || p.Visible > 1 {
				t.Errorf("%s is visible to %v", p.Part.ID, p.Visible)
			}
		}
	})
}

// TestManyAsk draws on one goroutine while others ask for the truth; the race
// detector sees what they share.
func TestManyAsk(t *testing.T) {
	s := mustNew(t, Config{Width: 192, Height: 108, DefectRate: 1})
	var wg sync.WaitGroup
	for k := range 3 {
		wg.Go(func() {
			for n := range 20 {
				if k == 0 {
					if err := s.Frame(n, s.NewFrame()); err != nil {
						t.Error(err)
					}
				}
				s.Truth(n)
				s.LeftBy(s.Time(n))
			}
		})
	}
	wg.Wait()
}

// TestHoursKeepNothing jumps through twelve hours: only parts in view may be kept.
func TestHoursKeepNothing(t *testing.T) {
	s := mustNew(t, Config{Width: 192, Height: 108})
	f := s.NewFrame()
	for n := 0; n < 12*3600*25; n += 9973 {
		if err := s.Frame(n, f); err != nil {
			t.Fatal(err)
		}
		if len(s.sprites) > 8 {
			t.Fatalf("frame %d: %d sprites are kept", n, len(s.sprites))
		}
	}
}
