package capture

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// ffmpeg runs it in a folder and gives what it prints.
func ffmpeg(t *testing.T, dir string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("left out: there is no ffmpeg to make recordings with")
	}
	cmd := exec.Command("ffmpeg", append([]string{"-nostdin", "-v", "error", "-y"}, args...)...)
	var said bytes.Buffer
	cmd.Dir, cmd.Stderr = dir, &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ffmpeg %v: %v: %s", args, err, &said)
	}
	return out
}

// TestRecordingsAreAsFFmpegShowsThem: rows whose length no decoder likes, more than
// eight bits, chroma at every pixel, a phone held upright.
func TestRecordingsAreAsFFmpegShowsThem(t *testing.T) {
	needMedia(t)
	for _, c := range []struct {
		name, size, file string
		args             []string
		w, h             int
	}{
		{"plain", "640x360", "a.mp4", nil, 640, 360},
		{"large, with threads", "1920x1088", "a.mp4", nil, 1920, 1088},
		{"odd", "640x360", "a.mp4", []string{"-vf", "scale=639:359", "-pix_fmt", "yuv444p"}, 639, 359},
		{"narrow", "70x50", "a.avi", []string{"-c:v", "mpeg4"}, 70, 50},
		{"ten bits", "320x180", "a.mkv", []string{"-pix_fmt", "yuv420p10le"}, 320, 180},
		{"gray", "320x180", "a.ts", []string{"-pix_fmt", "gray"}, 320, 180},
		{"motion JPEG", "320x180", "a.avi", []string{"-c:v", "mjpeg", "-pix_fmt", "yuvj422p"}, 320, 180},
		{"upright", "320x180", "turned.mp4", nil, 180, 320},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			made := strings.Replace(c.file, "turned", "a", 1)
			ffmpeg(t, dir, append(append([]string{"-f", "lavfi", "-i", "testsrc2=rate=30:duration=0.5:size=" + c.size}, c.args...), made)...)
			if made != c.file {
				ffmpeg(t, dir, "-i", made, "-c", "copy", "-metadata:s:v", "rotate=90", c.file)
			}
			want := ffmpeg(t, dir, "-i", c.file, "-f", "rawvideo", "-pix_fmt", "bgr24", "-")
			n, size := 0, 3*c.w*c.h
			start(t, config(filepath.Join(dir, c.file))).all(func(f *Frame) {
				if f.Width != c.w || f.Height != c.h || len(want) < (n+1)*size || !bytes.Equal(f.Pix, want[n*size:(n+1)*size]) {
					t.Fatalf("frame %d of %dx%d isn't that of ffmpeg, which has %d bytes of %dx%d", n, f.Width, f.Height, len(want), c.w, c.h)
				}
				n++
			})
			if n != 15 || len(want) != n*size {
				t.Errorf("%d frames, ffmpeg has %d bytes of %d each", n, len(want), size)
			}
		})
	}
}

// TestRecordingThatChangesItsSize: each picture has its own size and its own pixels.
func TestRecordingThatChangesItsSize(t *testing.T) {
	needMedia(t)
	dir := t.TempDir()
	var whole []byte
	for n, c := range []string{"red:size=640x360", "blue:size=320x180", "red:size=800x600"} {
		name := fmt.Sprintf("%d.ts", n)
		ffmpeg(t, dir, "-f", "lavfi", "-i", "color=rate=30:duration=0.5:color="+c, "-c:v", "libx264", name)
		part, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		whole = append(whole, part...)
	}
	counts := map[string]int{}
	last := -time.Second
	start(t, config(write(t, dir, "whole.ts", whole))).all(func(f *Frame) {
		colour := "neither"
		switch b, r := f.Pix[0], f.Pix[2]; {
		case b > 200 && r < 50:
			colour = "blue"
		case r > 200 && b < 50:
			colour = "red"
		}
		for i := 0; i < len(f.Pix); i += 3 {
			if f.Pix[i] != f.Pix[0] || f.Pix[i+2] != f.Pix[2] {
				colour = "mixed"
			}
		}
		if f.Media <= last {
			t.Errorf("a frame at %v behind one at %v", f.Media, last)
		}
		last = f.Media
		counts[fmt.Sprintf("%s %dx%d", colour, f.Width, f.Height)]++
	})
	if counts["red 640x360"] != 15 || counts["blue 320x180"] != 15 || counts["red 800x600"] != 15 || len(counts) != 3 {
		t.Errorf("%v", counts)
	}
}

// TestPlaylistLeadsNowhere: a file that names an address is no way to it.
func TestPlaylistLeadsNowhere(t *testing.T) {
	needMedia(t)
	file := write(t, t.TempDir(), "list.m3u8", []byte("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"))
	cam, err := New(config(file))
	if err != nil {
		t.Fatal(err)
	}
	if err := cam.Run(t.Context()); err == nil || err == io.EOF || !strings.Contains(err.Error(), "no video") {
		t.Errorf("%v", err)
	}
}
