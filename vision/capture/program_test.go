package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

func TestSplitWords(t *testing.T) {
	for in, want := range map[string][]string{
		``:                         nil,
		"  \t\n ":                  nil,
		`a b  c`:                   {"a", "b", "c"},
		`a 'b c' d`:                {"a", "b c", "d"},
		`a "b 'c" 'd"e'`:           {"a", "b 'c", `d"e`},
		`a b\ c \'d \\`:            {"a", "b c", "'d", `\`},
		`"\$x \"y\" \\ \z"`:        {`$x "y" \ \z`},
		`'\n'`:                     {`\n`},
		`'' "" x''y`:               {"", "", "xy"},
		`x"y"'z'`:                  {"xyz"},
		`$HOME ~ *.jpg`:            {"$HOME", "~", "*.jpg"},
		"a\\\nb":                   {"ab"},
		`rtsp://h/x?a=1&b=2 (c) #`: {"rtsp://h/x?a=1&b=2", "(c)", "#"},
		`a '|' \; "&&"`:            {"a", "|", ";", "&&"},
	} {
		got, err := splitWords(in)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		`a 'b`: "the ' at \"'b\" isn't closed", `a "b\"`: `the " at`, `a \`: `ends in a \`, `a | b`: "| is a shell's", `a > b`: "> is a shell's", "a\x00": "zero byte",
	} {
		if got, err := splitWords(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
}

// FuzzSplitWords compares with the shell itself.
func FuzzSplitWords(f *testing.F) {
	f.Add(`a 'b c' "d\"e" f\ g`)
	f.Fuzz(func(t *testing.T, s string) {
		words, err := splitWords(s)
		if err != nil || strings.ContainsAny(s, "$`*?[~#|&;<>(){}!=\r\n\x00") || len(words) == 0 {
			return
		}
		cmd := exec.Command("sh", "-c", `printf '%s\0' `+s)
		cmd.Env = []string{"LC_ALL=C"}
		out, err := cmd.Output()
		if err != nil {
			return
		}
		if want := strings.Join(words, "\x00") + "\x00"; string(out) != want {
			t.Errorf("%q: %q, the shell has %q", s, want, out)
		}
	})
}

// bt601 is the conversion by the book.
func bt601(y, u, v byte) [3]byte {
	c, d, e := 298*(int(y)-16), int(u)-128, int(v)-128
	at := func(x int) byte { return byte(min(max((x+128)>>8, 0), 255)) }
	return [3]byte{at(c + 516*d), at(c - 100*d - 208*e), at(c + 409*e)}
}

// TestNV12 compares with the formula every colour there is, or every seventh of
// the V.
func TestNV12(t *testing.T) {
	const w, h = 512, 2
	step := 7
	if os.Getenv("SIGHTLINE_FAULTS") == "full" {
		step = 1
	}
	src, dst := make([]byte, w*h*3/2), make([]byte, 3*w*h)
	for i := range w * h {
		src[i] = byte(i / 2)
		if i >= w {
			src[i] = byte(255 - i/2)
		}
	}
	for u := range 256 {
		for v := u % step; v < 256; v += step {
			for i := 0; i < w; i += 2 {
				src[w*h+i], src[w*h+i+1] = byte(u), byte(v)
			}
			nv12ToBGR(dst, src, w, h)
			for i := range w * h {
				want := bt601(src[i], byte(u), byte(v))
				for k, x := range dst[3*i : 3*i+3] {
					if d := int(x) - int(want[k]); d < -1 || d > 1 {
						t.Fatalf("y %d u %d v %d: %v, want %v", src[i], u, v, dst[3*i:3*i+3], want)
					}
				}
			}
		}
	}
	for name, c := range map[string][6]byte{ // y, u, v and b, g, r
		"black": {16, 128, 128, 0, 0, 0}, "white": {235, 128, 128, 255, 255, 255}, "gray": {126, 128, 128, 128, 128, 128},
		"red": {81, 90, 240, 0, 0, 255}, "green": {145, 54, 34, 1, 255, 0}, "blue": {41, 240, 110, 255, 0, 0},
	} {
		in := bytes.Repeat(c[:1], 4)
		got := make([]byte, 12)
		nv12ToBGR(got, append(in, c[1], c[2]), 2, 2)
		for i, x := range got {
			if d := int(x) - int(c[3+i%3]); d < -1 || d > 1 {
				t.Errorf("%s: %v, want %v", name, got[:3], c[3:])
				break
			}
		}
	}
}

// scenery is a frame with soft and hard colours.
func scenery(w, h int) []byte {
	r := rand.New(rand.NewPCG(5, 6))
	b := make([]byte, w*h*3/2)
	for i := range b {
		b[i] = byte(128 + 100*((i/7+i/w)%11-5)/5 + r.IntN(16))
	}
	return b
}

func TestNV12AgainstFFmpeg(t *testing.T) {
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("left out: no ffmpeg")
	}
	const w, h = 320, 240
	src := scenery(w, h)
	cmd := exec.Command(ffmpeg, "-v", "error", "-f", "rawvideo", "-pix_fmt", "nv12", "-s", "320x240", "-i", "-", "-sws_flags", "neighbor+accurate_rnd",
		"-f", "rawvideo", "-pix_fmt", "bgr24", "-")
	cmd.Stdin = bytes.NewReader(src)
	want, err := cmd.Output()
	if err != nil || len(want) != 3*w*h {
		t.Fatalf("%d bytes, %v", len(want), err)
	}
	got := make([]byte, 3*w*h)
	nv12ToBGR(got, src, w, h)
	var worst, sum int
	for i := range got {
		d := int(got[i]) - int(want[i])
		worst, sum = max(worst, d, -d), sum+max(d, -d)
	}
	t.Logf("of %d values: worst %d levels, mean %.3f", len(got), worst, float64(sum)/float64(len(got)))
	if worst > 3 {
		t.Errorf("worst %d", worst)
	}
}

func BenchmarkNV12(b *testing.B) {
	const w, h = 1920, 1080
	r := rand.New(rand.NewPCG(5, 6))
	noise := make([]byte, w*h*3/2)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	for name, src := range map[string][]byte{"scenery": scenery(w, h), "gray": bytes.Repeat([]byte{128}, w*h*3/2), "noise": noise} {
		b.Run(name, func(b *testing.B) {
			dst := make([]byte, 3*w*h)
			b.SetBytes(int64(len(dst)))
			for range b.N {
				nv12ToBGR(dst, src, w, h)
			}
		})
	}
}

// programHere starts a program in the test's own process.
func programHere(t *testing.T, command string, opt Options, read time.Duration) (*programReader, error) {
	t.Helper()
	r, _, err := openProgram(t.Context(), order{Kind: program, At: command, Read: read.Milliseconds(), Options: opt})
	if err != nil {
		return nil, err
	}
	p := r.(*programReader)
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			p.Close()
		}
	})
	return p, nil
}

func raws(format string, w, h int) Options { return Options{Format: format, Width: w, Height: h} }

// TestProgramFormats: each format comes out as it was written.
func TestProgramFormats(t *testing.T) {
	dir := t.TempDir()
	const w, h = 8, 4
	bgr, gray := make([]byte, 3*w*h), make([]byte, w*h)
	for i := range bgr {
		bgr[i] = byte(i * 2)
	}
	for i := range gray {
		gray[i] = byte(i * 7)
	}
	nv12 := scenery(w, h)
	ofNV12 := make([]byte, 3*w*h)
	nv12ToBGR(ofNV12, nv12, w, h)
	for _, c := range []struct {
		format    string
		in, want  []byte
		codedJPEG bool
	}{
		{"BGR24", bgr, bgr, false}, {"GRAY8", gray, gray, false}, {"NV12", nv12, ofNV12, false},
		{"MJPEG", jpegOf(t, plain(w, h, 80)), plain(w, h, 80).Pix, true},
	} {
		t.Run(c.format, func(t *testing.T) {
			path := write(t, dir, "a frame's "+c.format, c.in)
			opt := raws(c.format, w, h)
			if c.codedJPEG {
				opt = Options{Format: c.format}
			}
			r, err := programHere(t, `sh -c 'cat "$1"; exec sleep 60' x "`+path+`"`, opt, 5*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			var mem []byte
			before := monotonic()
			s, err := r.Read(func(n int) ([]byte, error) {
				mem = make([]byte, n)
				return mem, nil
			})
			if err != nil || s.Width != w || s.Height != h || s.Gray != (c.format == "GRAY8") || s.Timing != vision.Arrived {
				t.Fatalf("%+v, %v", s, err)
			}
			if s.Mono > monotonic() || s.Mono < before-5*time.Second.Nanoseconds() {
				t.Errorf("taken at %d", s.Mono)
			}
			if len(mem) != len(c.want) || !bytes.Equal(mem, c.want) {
				t.Errorf("other pixels: %v, want %v", mem[:6], c.want[:6])
			}
		})
	}
}

// TestProgramNewestWins: a program that is faster than its reader isn't held up,
// and what is passed over is counted.
func TestProgramNewestWins(t *testing.T) {
	const w, h, frames = 64, 48, 500
	dir := t.TempDir()
	var all bytes.Buffer
	for i := range frames {
		all.Write(bytes.Repeat([]byte{byte(i)}, w*h))
	}
	path := write(t, dir, "frames", all.Bytes())
	done := filepath.Join(dir, "done")
	r, err := programHere(t, fmt.Sprintf("sh -c 'cat %s; touch %s; exec sleep 60'", path, done), raws("GRAY8", w, h), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the program to have written all", func() bool {
		_, err := os.Stat(done)
		n, _ := r.raw.partly()
		r.raw.mu.Lock()
		defer r.raw.mu.Unlock()
		return err == nil && n == 0 && r.raw.newest.skipped == frames-1
	})
	mem := make([]byte, w*h)
	s, err := r.Read(func(int) ([]byte, error) { return mem, nil })
	if err != nil || s.skipped != frames-1 || mem[0] != byte((frames-1)%256) || mem[w*h-1] != mem[0] {
		t.Errorf("%+v, %v, gray %d", s, err, mem[0])
	}
}

// TestProgramEnds: the reason holds how it ended, its last words, and what
// hints at a wrong size.
func TestProgramEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, command string
		opt           Options
		want          string
		good          int // frames before that
	}{
		{"fails", `sh -c 'echo "no such camera" >&2; exit 3'`, raws("GRAY8", 4, 4), "its program ended: exit status 3: no such camera", 0},
		{"ends well", `printf 0123456789abcdef`, raws("GRAY8", 4, 4), "its program ended: exit status 0", 1},
		{"within a frame", `sh -c 'printf 0123456789abcdefxyz'`, raws("GRAY8", 4, 4), "the last one has 3 of 16 bytes: is the size 4x4 right, and the format GRAY8?", 1},
		{"killed", `sh -c 'kill -9 $$'`, raws("GRAY8", 4, 4), "signal: killed", 0},
		{"silent", `sleep 60`, raws("GRAY8", 4, 4), "has written no picture in", 0},
		{"stops", `sh -c 'printf 0123456789abcdefx; exec sleep 60'`, raws("GRAY8", 4, 4), "the program stopped writing", 1},
		{"closes its output", `sh -c 'exec >&-; sleep 60'`, raws("GRAY8", 4, 4), "closed its output and runs on", 0},
		{"no JPEG", `sh -c 'printf hello'`, Options{Format: "MJPEG"}, "its program ended: exit status 0", 0},
		{"endless line", `sh -c 'head -c 100000 /dev/zero | tr "\0" x >&2; echo >&2; echo end >&2; exit 1'`, raws("GRAY8", 4, 4), "xxx | end", 0},
		{"isn't there", `/no/such/program`, raws("GRAY8", 4, 4), `start the program "/no/such/program": no such file`, 0},
		{"isn't found", `no-such-program-anywhere`, raws("GRAY8", 4, 4), "executable file not found in $PATH", 0},
		{"isn't executable", os.Args[0] + "/x", raws("GRAY8", 4, 4), "not a directory", 0},
		{"unbalanced", `sh -c 'x`, raws("GRAY8", 4, 4), "the program's command: the ' at", 0},
		{"none", "", raws("GRAY8", 4, 4), "no program is named", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, err := programHere(t, c.command, c.opt, 300*time.Millisecond)
			good := 0
			if err == nil {
				if c.name == "silent" {
					r.begun = true // its first frame may take 9 s
					c.want = "stopped writing"
				}
				for err == nil {
					var s shot
					if s, err = r.Read(heapRoom); err == nil {
						good += 1 + int(s.skipped)
					}
				}
			}
			if !strings.Contains(err.Error(), c.want) || good != c.good || len(err.Error()) > 3000 {
				t.Errorf("%d frames, then %v; want %d, %q", good, err, c.good, c.want)
			}
		})
	}
}

// alive tells whether a process is there and no zombie.
func aliveProcess(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// numbers reads process numbers from a file, when all are there.
func numbers(t *testing.T, path string, n int) []int {
	t.Helper()
	var all []int
	eventually(t, 10*time.Second, "the program to start", func() bool {
		b, _ := os.ReadFile(path) // it may not be there yet
		all = all[:0]
		for _, f := range strings.Fields(string(b)) {
			pid, _ := strconv.Atoi(f)
			all = append(all, pid)
		}
		return len(all) == n && strings.HasSuffix(string(b), "\n")
	})
	return all
}

// TestProgramIsEnded: at Close, whatever it thinks of SIGTERM, with its children.
func TestProgramIsEnded(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"plain":    `sleep 60 & echo $$ $! > "$1"; wait`,
		"stubborn": `trap "" TERM; sh -c "trap \"\" TERM; sleep 60" & echo $$ $! > "$1"; while :; do sleep 1; done`,
		"stopped":  `sleep 60 & echo $$ $! > "$1"; kill -STOP $$`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pids := filepath.Join(t.TempDir(), "pids")
			r, err := programHere(t, `sh -c '`+script+`' x `+pids, raws("GRAY8", 4, 4), time.Second)
			if err != nil {
				t.Fatal(err)
			}
			all := numbers(t, pids, 2)
			began := time.Now()
			r.Close()
			if d := time.Since(began); d > 5*time.Second {
				t.Errorf("Close took %v", d)
			}
			for _, pid := range all {
				eventually(t, 5*time.Second, "process to end", func() bool { return !aliveProcess(pid) })
			}
		})
	}
}

// TestProgramEndsInOrder: SIGTERM comes first, with time for it.
func TestProgramEndsInOrder(t *testing.T) {
	dir := t.TempDir()
	ready, word := filepath.Join(dir, "ready"), filepath.Join(dir, "word")
	r, err := programHere(t, fmt.Sprintf(`sh -c 'trap "echo bye > %s; exit" TERM; echo 1 > %s; while :; do sleep 0.01; done'`, word, ready), raws("GRAY8", 4, 4), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	numbers(t, ready, 1)
	r.grace = 10 * time.Second // for a busy machine
	r.Close()
	if b, err := os.ReadFile(word); err != nil || string(b) != "bye\n" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestQuietProgramOfAKilledWorker: one that writes nothing more dies as well.
func TestQuietProgramOfAKilledWorker(t *testing.T) {
	t.Parallel()
	pids := filepath.Join(t.TempDir(), "pids")
	cfg := config(`exec: sh -c 'echo $$ >> ` + pids + `; printf 0123456789abcdef; exec sleep 60'`)
	cfg.Options = raws("GRAY8", 4, 4)
	r := start(t, cfg)
	r.next(10 * time.Second).Release()
	pid := numbers(t, pids, 1)[0]
	if err := syscall.Kill(r.pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Second, "the program to end", func() bool { return !aliveProcess(pid) })
}

// TestProgramOfAKilledWorker: it doesn't outlive its worker, nor do its children
// that write.
func TestProgramOfAKilledWorker(t *testing.T) {
	t.Parallel()
	pids := filepath.Join(t.TempDir(), "pids")
	cfg := config(`exec: sh -c 'echo $$ >> ` + pids + `; yes 0123456789abcde | cat'`)
	cfg.Options = raws("GRAY8", 4, 4)
	r := start(t, cfg)
	r.next(10 * time.Second).Release()
	first := numbers(t, pids, 1)[0]
	group := processGroup(t, first)
	if len(group) != 3 {
		t.Errorf("the group has %v", group)
	}
	if err := syscall.Kill(r.pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, pid := range group {
		eventually(t, 5*time.Second, "process to end", func() bool { return !aliveProcess(pid) })
	}
	second := numbers(t, pids, 2)[1]
	r.next(10 * time.Second).Release()
	r.stop()
	<-r.done
	eventually(t, 5*time.Second, "the next program to end", func() bool { return len(processGroup(t, second)) == 0 })
}

// processGroup lists the living members of a group.
func processGroup(t *testing.T, group int) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var all []int
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		f := strings.Fields(rest) // state, parent, group
		if len(f) > 2 && f[0] != "Z" && f[2] == strconv.Itoa(group) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			all = append(all, pid)
		}
	}
	return all
}

// TestProgramHasNothingOfOurs: no descriptor beyond the three, and no input.
func TestProgramHasNothingOfOurs(t *testing.T) {
	t.Parallel()
	leak, err := syscall.Dup(2) // not closed on exec, so the worker has it as well
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(leak)
	pids := filepath.Join(t.TempDir(), "pids")
	cfg := config(`exec: sh -c 'echo $$ > ` + pids + `; exec yes 0123456789abcde'`)
	cfg.Options = raws("GRAY8", 4, 4)
	r := start(t, cfg)
	f := r.next(10 * time.Second)
	if f.Format != vision.Gray8 || f.Width != 4 || f.Timing != vision.Arrived {
		t.Errorf("%+v", f.Frame)
	}
	f.Release()
	fds := fmt.Sprintf("/proc/%d/fd/", numbers(t, pids, 1)[0])
	var lines []string
	for _, fd := range names(t, fds) {
		to, err := os.Readlink(fds + fd)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, to)
	}
	if len(lines) != 3 || lines[0] != "/dev/null" || !strings.HasPrefix(lines[1], "pipe:") || !strings.HasPrefix(lines[2], "pipe:") {
		t.Errorf("the program has %q", lines)
	}
}

// TestProgramSecretsAreHidden: what it says goes through the redaction.
func TestProgramSecretsAreHidden(t *testing.T) {
	t.Parallel()
	cfg := config(`exec: sh -c 'echo "open rtsp://bob:geheim@cam/x" >&2; exit 1'`)
	cfg.Options = raws("GRAY8", 4, 4)
	r := start(t, cfg)
	eventually(t, 10*time.Second, "the reason", func() bool { return strings.Contains(r.Stats().LastError, "its program ended: exit status 1") })
	if e := r.Stats().LastError; strings.Contains(e, "geheim") || !strings.Contains(e, "rtsp://***@cam/x") {
		t.Error(e)
	}
}

// TestRawPumpAnyPieces: frames are put together whatever pieces they come in.
func TestRawPumpAnyPieces(t *testing.T) {
	const size = 1000
	pr, pw := io.Pipe()
	p := newRawPump(size)
	go p.run(pr)
	go func() {
		r := rand.New(rand.NewPCG(1, 2))
		var rest []byte
		for i := range 200 {
			rest = append(rest, bytes.Repeat([]byte{byte(i)}, size)...)
			n := r.IntN(len(rest) + 1)
			_, _ = pw.Write(rest[:n]) // a test that failed has closed it
			rest = rest[n:]
		}
		_, _ = pw.Write(rest)
		pw.Close()
	}()
	var n uint64
	last := -1
	for {
		f, err := p.take(context.Background(), 10*time.Second)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if f.pix[0] != f.pix[size-1] || int(f.pix[0]) <= last {
			t.Fatalf("torn, or old: %d to %d after %d", f.pix[0], f.pix[size-1], last)
		}
		last = int(f.pix[0])
		n += 1 + f.skipped
		p.giveBack(f.pix)
	}
	p.drain()
	if n != 200 {
		t.Errorf("%d frames of 200 are accounted for", n)
	}
}
