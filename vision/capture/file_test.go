package capture

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFolderGivesEveryPictureInNaturalOrder(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []int{10, 2, 1} {
		write(t, dir, fmt.Sprintf("part%d.jpg", n), jpegOf(t, plain(40+n, 30, byte(10*n))))
	}
	write(t, dir, "part3.png", []byte("\x89PNG\r\n\x1a\nnot really"))
	write(t, dir, "notes.txt", []byte("no picture"))
	write(t, dir, "large.jpg", jpegOf(t, plain(900, 700, 50)))
	r := start(t, config(dir))
	type got struct {
		Name string
		W, H int
		Gray byte
		Seq  uint64
	}
	var all []got
	r.all(func(f *Frame) {
		if !f.Valid() {
			t.Errorf("%s: geometry doesn't fit", f.Name)
		}
		all = append(all, got{f.Name, f.Width, f.Height, f.Pix[len(f.Pix)-1], f.Seq})
	})
	want := []got{{"large.jpg", 900, 700, 50, 1}, {"part1.jpg", 41, 30, 10, 2}, {"part2.jpg", 42, 30, 20, 3}, {"part10.jpg", 50, 30, 100, 5}}
	if d := cmp.Diff(want, all); d != "" {
		t.Error(d)
	}
	<-r.done
	s := r.Stats()
	if r.err != nil || s.Captured != 5 || r.feed.Stats().Delivered != 4 || s.Dropped.Unreadable != 1 || s.State != Ended || !strings.Contains(s.LastError, "part3.png") {
		t.Errorf("run: %v, stats %+v", r.err, s)
	}
}

func TestGrowingPicturesWhileOldFramesAreHeld(t *testing.T) {
	dir := t.TempDir()
	for i := range 12 {
		write(t, dir, fmt.Sprintf("%02d.jpg", i), jpegOf(t, plain(64<<(i/3), 48<<(i/3), byte(20*i))))
	}
	r := start(t, config(dir))
	var held []*Frame
	for i := range 12 {
		f := r.next(10 * time.Second)
		held = append(held, f)
		if i >= 3 {
			if want := byte(20 * (i - 3)); bytes.Count(held[0].Pix, []byte{want}) != len(held[0].Pix) {
				t.Errorf("frame %d changed while it was held", i-3)
			}
			held[0].Release()
			held = held[1:]
		}
	}
	for _, f := range held {
		f.Release()
	}
	r.all(nil)
}

func TestLoopGoesOnCounting(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		write(t, dir, fmt.Sprintf("%d.png", i), jpegOf(t, plain(32, 32, byte(i)))) // found by its bytes, not its name
	}
	cfg := config(dir)
	cfg.Loop = true
	r := start(t, cfg)
	for i := range uint64(10) {
		f := r.next(10 * time.Second)
		if f.Seq != i+1 || f.Name != fmt.Sprintf("%d.png", i%3) {
			t.Fatalf("frame %d is %s, Seq %d", i, f.Name, f.Seq)
		}
		f.Release()
	}
}

func TestReleaseTwiceIsABug(t *testing.T) {
	r := start(t, config(write(t, t.TempDir(), "a.jpg", jpegOf(t, plain(32, 32, 9)))))
	f := r.next(10 * time.Second)
	f.Release()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	f.Release()
}

func TestSourcesThatCantBeRead(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(dir, "broken")
	if err := os.Mkdir(broken, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, broken, "a.jpg", []byte("\xff\xd8\xff\xe0 no picture"))
	write(t, broken, "b.jpg", []byte("nothing"))
	text := write(t, dir, "video.mp4", []byte("this is no video"))
	for _, c := range []struct{ name, source, want string }{
		{"empty source", " ", "source is empty"},
		{"no such file", filepath.Join(dir, "none.mp4"), "no such file or folder"},
		{"no such scheme", "ftp://u:secret@host/x", "source ftp://***@host/x: ftp:// isn't read"},
		{"bad address", "rtsp://u:secret@host:port/x", "invalid port"},
		{"empty file", write(t, dir, "empty.mp4", nil), "the file is empty"},
		{"empty folder", empty, "no picture"},
		{"only broken pictures", broken, "none of its 2 pictures can be read"},
		{"broken picture", filepath.Join(broken, "a.jpg"), "decode jpeg picture"},
		{"no video", text, "no video that can be read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.source == text {
				needMedia(t)
			}
			cam, err := New(config(c.source))
			if err == nil {
				feed := cam.Feed()
				err = cam.Run(t.Context())
				if _, next := feed.Next(t.Context()); next == nil || err == nil || next.Error() != err.Error() {
					t.Errorf("Run says %v, Next %v", err, next)
				}
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("error is %v, want %q", err, c.want)
			}
		})
	}
}

func TestWhatIsMissingIsSaid(t *testing.T) {
	cfg := config("rtsp://user:secret@127.0.0.1/cam")
	cfg.CaptureBinary = ""
	_, err := New(cfg)
	if err == nil || !strings.Contains(err.Error(), "sightline-capture") || strings.Contains(err.Error(), "secret") {
		t.Errorf("error is %v", err)
	}
	pic := write(t, t.TempDir(), "a.jpg", jpegOf(t, plain(32, 32, 9)))
	cfg = config(pic)
	cfg.SelfExecutable = "/nonexistent/program"
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "/nonexistent/program") {
		t.Errorf("error is %v", err)
	}
	cfg.SelfExecutable, cfg.SelfArgs = "/bin/sh", []string{"-c", "echo no library libfoo >&2; exit 3"}
	if c, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	if err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "exit status 3: no library libfoo") {
		t.Errorf("error is %v", err)
	}
}

// realVideo is a recording of 1,189 frames at 179/6 a second that nobody here made.
func realVideo(t *testing.T) string {
	t.Helper()
	data := os.Getenv("SIGHTLINE_REALDATA")
	if data == "" {
		t.Skip("left out: SIGHTLINE_REALDATA isn't set")
	}
	return filepath.Join(data, "video", "bottle-detection.mp4")
}

func TestRecordingGivesEveryFrameOnce(t *testing.T) {
	needMedia(t)
	r := start(t, config(realVideo(t)))
	n, doubled := 0, 0
	var last *[]byte
	r.all(func(f *Frame) {
		if want := time.Duration(n) * time.Second * 6 / 179; (f.Media - want).Abs() > time.Millisecond {
			t.Fatalf("frame %d is at %v, want %v", n, f.Media, want)
		}
		n++
		if f.Seq != uint64(n) {
			t.Fatalf("frame %d has Seq %d", n, f.Seq)
		}
		if last != nil && bytes.Equal(*last, f.Pix) {
			doubled++
		}
		c := bytes.Clone(f.Pix)
		last = &c
	})
	s := r.Stats()
	if n != 1189 || s.Captured != 1189 || r.feed.Stats().Delivered != 1189 || s.Dropped != (Dropped{}) || math.Abs(s.AnnouncedRate-179.0/6) > 0.001 {
		t.Errorf("%d frames, stats %+v", n, s)
	}
	t.Logf("%d frames equal the one before them; CPU of the worker %v", doubled, r.CPU())
}
