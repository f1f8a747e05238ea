package e2e

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/scene/ipcam"
)

// cell is an agent that runs with a configuration of the test's own.
type cell struct {
	t                    *testing.T
	agent, dir, addr     string
	config, data, stderr string // the last is of all its lives
	*process
}

// newCell configures an agent, which start runs. The lines follow those that
// say where it answers and keeps its data.
func newCell(t *testing.T, lines ...string) *cell {
	t.Helper()
	dir := t.TempDir()
	c := &cell{t: t, agent: agentProgram(t), dir: dir, addr: freeAddress(t), config: filepath.Join(dir, "station.yaml"), data: filepath.Join(dir, "data")}
	head := []string{"listen: " + strconv.Quote(c.addr), "data: " + strconv.Quote(c.data)}
	if err := os.WriteFile(c.config, []byte(strings.Join(append(head, lines...), "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// start runs the agent until it answers.
func (c *cell) start() *cell {
	c.t.Helper()
	c.process = start(c.t, c.agent, "run", "--verbose", "--config", c.config)
	eventually(c.t, "the agent answers", func() bool {
		select {
		case <-c.done:
			c.t.Fatalf("the agent ended: %v\n%s", c.err, tail(c.process.stderr.String()))
		default:
		}
		_, code := c.get("/v1/cameras")
		return code == http.StatusOK
	})
	return c
}

// ends stops the agent by SIGTERM, and wants nothing of it to be left.
func (c *cell) ends() {
	c.t.Helper()
	began, below := time.Now(), c.below()
	c.stop()
	c.stderr += c.process.stderr.String()
	c.t.Logf("SIGTERM to the end: %v", time.Since(began).Round(time.Millisecond))
	eventuallyWithin(c.t, 2*time.Second, "the end of what the kernel ends with the agent", func() bool { return !slices.ContainsFunc(below, alive) })
}

// below are all processes of the agent's.
func (c *cell) below() []int {
	return append(workers(c.cmd.Process.Pid, "infer"), workers(c.cmd.Process.Pid, "capture")...)
}

// captures are its capture processes.
func (c *cell) captures() []int { return workers(c.cmd.Process.Pid, "capture") }

// get is what the agent answers, 0 when it doesn't.
func (c *cell) get(path string) (string, int) { return c.ask(http.MethodGet, path) }

// post makes the agent do something.
func (c *cell) post(path string) (string, int) { return c.ask(http.MethodPost, path) }

func (c *cell) ask(method, path string) (string, int) {
	c.t.Helper()
	req, err := http.NewRequest(method, "http://"+c.addr+path, http.NoBody)
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := (&http.Client{Timeout: 5 * time.Second}).Do(req)
	if err != nil {
		return "", 0
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", 0
	}
	return string(b), resp.StatusCode
}

// cameraNow is a camera as REST gives it, as far as the tests look.
type cameraNow struct {
	State     string
	Error     string
	Width     int
	Captured  uint64 `json:"frames_captured"`
	Restarts  uint64
	Reference bool
	Dropped   struct{ Late, Incomplete uint64 } `json:"frames_dropped"`
	Faults    []struct{ Fault string }          `json:"picture_faults"`
}

func (c *cell) camera(id string) (now cameraNow) {
	_ = get(c.addr, "/v1/cameras/"+id, &now) // else it has no state
	return now
}

// viewNow is what became of a camera's pictures at a station.
type viewNow struct {
	Camera      string
	Inferred    uint64 `json:"frames_inferred"`
	Unchanged   uint64 `json:"frames_unchanged"`
	Overwritten uint64 `json:"frames_overwritten"`
}

// views are what a station looks through.
func (c *cell) views(station string) []viewNow {
	var s struct{ Views []viewNow }
	_ = get(c.addr, "/v1/stations/"+station, &s) // else it has none
	return s.Views
}

// inferred counts the pictures of a camera that a station has inspected.
func (c *cell) inferred(station, camera string) (n uint64) {
	for _, v := range c.views(station) {
		if v.Camera == camera {
			n = v.Inferred
		}
	}
	return n
}

// warned reports whether the agent warns of code for the camera.
func (c *cell) warned(code, camera string) bool {
	var h struct {
		Warnings []struct{ Code, Subject string }
	}
	return get(c.addr, "/v1/health", &h) && slices.ContainsFunc(h.Warnings, func(w struct{ Code, Subject string }) bool {
		return w.Code == code && w.Subject == camera
	})
}

// within waits for a condition and tells how long it took, which must be near
// limit at most; the rest is for machines that do other things too.
func within(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	began := time.Now()
	eventually(t, what, holds)
	took := time.Since(began)
	t.Logf("%-60s %5d ms", what, took.Milliseconds())
	if took > limit+3*time.Second {
		t.Errorf("%s: after %v, want %v", what, took, limit)
	}
}

// talker is the process among pids that has a connection to the address, 0 for none.
func talker(pids []int, address string) int {
	_, port, _ := strings.Cut(address, ":")
	n, err := strconv.Atoi(port)
	if err != nil {
		return 0
	}
	table, _ := os.ReadFile("/proc/net/tcp") // it is there on Linux
	inodes := map[string]bool{}
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 9 && strings.HasSuffix(f[2], fmt.Sprintf(":%04X", n)) {
			inodes["socket:["+f[9]+"]"] = true
		}
	}
	for _, pid := range pids {
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid)) // the pattern is good
		for _, fd := range fds {
			if to, err := os.Readlink(fd); err == nil && inodes[to] {
				return pid
			}
		}
	}
	return 0
}

// sendSignal sends a signal to a process.
func sendSignal(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if pid == 0 {
		t.Fatal("there is no such process")
	}
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatal(err)
	}
}

// set makes a gate misbehave.
func set(t *testing.T, g *ipcam.Gate, f ipcam.Fault) {
	t.Helper()
	if err := g.Set(f); err != nil {
		t.Fatal(err)
	}
}

// during runs f until the test ends.
func during(t *testing.T, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// onePerCamera wants as many capture processes as there are cameras.
func (c *cell) onePerCamera(cameras int) {
	c.t.Helper()
	if n := len(c.captures()); n != cameras {
		c.t.Errorf("%d capture processes for %d cameras", n, cameras)
	}
}

// rounds is how often something is done: few times, or many where the long counts
// are wanted.
func rounds(few, many int) int {
	if full() {
		return many
	}
	return few
}

// mjpegCamera films what is drawn with an MJPEG camera behind a gate.
func mjpegCamera(t *testing.T, d ipcam.Drawer) *ipcam.Gate {
	t.Helper()
	m, err := ipcam.NewMJPEG(drawing(d))
	if err != nil {
		t.Fatal(err)
	}
	m.Quality, m.Wait = 90, true
	srv := httptest.NewServer(m)
	t.Cleanup(srv.CloseClientConnections)
	during(t, m.Run)
	g, err := ipcam.NewGate(strings.TrimPrefix(srv.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

func drawing(d ipcam.Drawer) ipcam.Drawing {
	return ipcam.Drawing{Drawer: d, Width: beltWidth, Height: beltHeight, Rate: beltRate}
}

// wall is a still scene before which something passes, in a sensor's noise.
type wall struct{ pushed atomic.Int32 } // how far the camera was pushed to the left, pixels

// Frame draws frame n.
func (w *wall) Frame(n int, dst *vision.Frame) error {
	noise, fixed := rand.New(rand.NewPCG(uint64(n), 1)), rand.New(rand.NewPCG(2, 2))
	for i := range dst.Pix {
		dst.Pix[i] = byte(90 + noise.IntN(5))
	}
	for i := range 60 {
		x, y := fixed.IntN(beltWidth)+int(w.pushed.Load()), fixed.IntN(beltHeight)
		brighten(dst, x, y, 8+fixed.IntN(30), 20+i/2)
	}
	brighten(dst, n*9%500-60, 60, 60, 50)
	return nil
}

// brighten adds to a square of the picture, as far as it lies in it.
func brighten(f *vision.Frame, x, y, side, by int) {
	for row := max(y, 0); row < min(y+side, f.Height); row++ {
		for at := max(x, 0) * 3; at < min(x+side, f.Width)*3; at++ {
			f.Pix[row*f.Stride+at] += byte(by)
		}
	}
}
