package e2e

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision/scene/ipcam"
)

// fakeGV is Aravis' fake GigE Vision camera, a process.
type fakeGV struct {
	t *testing.T
	*process
}

// newFakeGV starts the fake camera, or leaves the test out. It binds the port of
// GigE Vision, so there is one at a time, over all programs that heed the lock.
func newFakeGV(t *testing.T) *fakeGV {
	t.Helper()
	program(t, "sightline-capture")
	if _, err := exec.LookPath("arv-fake-gv-camera-0.8"); err != nil {
		t.Skip("left out: no arv-fake-gv-camera-0.8 (Debian's aravis-tools)")
	}
	eventually(t, "the port of GigE Vision is ours", func() bool {
		lock, err := net.Listen("unix", "@sightline-fake-gv-camera")
		if err == nil {
			t.Cleanup(func() { lock.Close() })
		}
		return err == nil
	})
	f := &fakeGV{t: t}
	f.start()
	return f
}

// start waits until the camera answers; it ends at once when the port is taken.
func (f *fakeGV) start() {
	f.t.Helper()
	f.process = nil
	eventually(f.t, "the fake camera runs", func() bool {
		if f.process == nil {
			f.process = start(f.t, "arv-fake-gv-camera-0.8", "-i", "127.0.0.1")
		}
		select {
		case <-f.done:
			f.process = nil
			return false
		default:
		}
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", f.cmd.Process.Pid)) // the pattern is good
		return len(fds) > 5                                                      // its sockets are bound one after the other
	})
}

// TestTriggeredCamera: a camera that waits for its trigger gives one picture for
// each, although its station has no model yet; when it is gone that is told, and
// soon after it is there again it can be triggered.
func TestTriggeredCamera(t *testing.T) {
	t.Parallel()
	camera := newFakeGV(t)
	c := newCell(t, "stations:",
		"  - {id: one, bundle: caps, camera: {source: \"aravis:127.0.0.1\", format: Mono8, trigger: software, size: 256x256}}",
	).start()
	waiting := func() bool { return c.camera("one").State == "waiting" }
	eventually(t, "the camera waits", waiting)
	taken := func() uint64 { // whole ones: some starts bring incomplete ones that nobody asked for
		now := c.camera("one")
		return now.Captured - now.Dropped.Incomplete
	}
	base := taken()
	for n := range rounds(10, 1000) {
		c.fireUntil(fmt.Sprintf("picture %d", n+1), func() bool { return taken() > base+uint64(n) })
		if got := taken(); got != base+uint64(n)+1 {
			t.Fatalf("%d pictures for %d triggers", got-base, n+1)
		}
	}
	if n := c.camera("one").Dropped.Incomplete; n > 0 {
		t.Logf("%d incomplete pictures", n)
	}
	first, second := c.shot(), c.shot()
	if bytes.Equal(first.Pix, second.Pix) {
		t.Error("the next picture is the one before: nothing was taken for it")
	}
	eventually(t, "the camera waits", waiting)

	camera.kill()
	within(t, 3*time.Second, "the camera is gone: failed", func() bool { return c.camera("one").State == "failed" })
	within(t, 500*time.Millisecond, "the camera is gone: camera_unreachable", func() bool { return c.warned("camera_unreachable", "one") })
	if text, code := c.post("/v1/cameras/one/trigger"); code != http.StatusConflict || !strings.Contains(text, "can't be reached now") {
		t.Errorf("a camera that is gone is triggered: %d %s", code, text)
	}
	camera.start()
	within(t, 5*time.Second, "the camera is back: waiting", waiting)
	now := c.camera("one").Captured
	c.fire()
	within(t, time.Second, "the camera is back: a picture", func() bool { return c.camera("one").Captured > now })
	within(t, 500*time.Millisecond, "the camera is back: the warning is over", func() bool { return !c.warned("camera_unreachable", "one") })
	c.onePerCamera(1)
	c.ends()
}

// fire triggers the camera of station one.
func (c *cell) fire() {
	c.t.Helper()
	if text, code := c.post("/v1/cameras/one/trigger"); code != http.StatusNoContent {
		c.t.Fatalf("trigger: %d %s", code, text)
	}
}

// fireUntil triggers the camera until done. Once is enough unless the picture's
// datagrams were lost, as on a machine that is too busy to read them.
func (c *cell) fireUntil(what string, done func() bool) {
	c.t.Helper()
	c.fire()
	again := time.Now().Add(5 * time.Second)
	eventually(c.t, what, func() bool {
		if time.Now().After(again) {
			c.t.Logf("%s: triggered again; %d incomplete pictures", what, c.camera("one").Dropped.Incomplete)
			again = time.Now().Add(5 * time.Second)
			c.fire()
		}
		return done()
	})
}

// shot triggers a picture and fetches it, which must be gray.
func (c *cell) shot() *image.Gray {
	c.t.Helper()
	type answer struct {
		text string
		code int
	}
	came := make(chan answer, 1)
	go func() {
		text, code := c.get("/v1/cameras/one/picture.jpg")
		came <- answer{text, code}
	}()
	for again := time.NewTicker(200 * time.Millisecond); ; { // the question may not be there yet
		select {
		case a := <-came:
			again.Stop()
			m, err := jpeg.Decode(strings.NewReader(a.text))
			if err != nil || a.code != http.StatusOK {
				c.t.Fatalf("picture: %d %.200q %v", a.code, a.text, err)
			}
			gray, ok := m.(*image.Gray)
			if !ok || gray.Rect != image.Rect(0, 0, 256, 256) {
				c.t.Fatalf("the picture is a %T of %v", m, m.Bounds())
			}
			return gray
		case <-again.C:
			c.fire()
		}
	}
}

// wrongPassword: a camera that refuses is told as that, and hardly asked
// again, until the file with the password is corrected. Nobody is shown a password.
func wrongPassword(t *testing.T) {
	program(t, "sightline-capture")
	if !ipcam.HaveFFmpeg() {
		t.Skip("left out: no ffmpeg program")
	}
	const right, wrong = "Tr0ub4dor&3", "c0rrect/horse"
	stream, err := ipcam.Drawn(drawing(newBelt(t, 31, 1)))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var asked ipcam.Control
	camera := ipcam.RTSP{Stream: stream, User: "user", Password: right, Control: &asked}
	during(t, func(ctx context.Context) error { return camera.Serve(ctx, ln) })

	c := newCell(t, "stations:",
		fmt.Sprintf("  - {id: one, bundle: caps, camera: {source: \"rtsp://%s/cam\", credentials: secret}}", ln.Addr()))
	secret := filepath.Join(c.dir, "secret")
	put := func(password string) {
		t.Helper()
		if err := os.WriteFile(secret, []byte("user:"+password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(wrong)
	c.start()
	eventually(t, "the camera refuses", func() bool { return c.camera("one").State == "refused" })
	within(t, 500*time.Millisecond, "the warning", func() bool { return c.warned("camera_refuses", "one") })
	began := time.Now()
	shown := c.everything()
	eventually(t, "a while", func() bool { return time.Since(began) > time.Duration(rounds(2, 25))*time.Second })
	if now := c.camera("one"); now.State != "refused" || asked.Counts().Denied > 2 {
		t.Errorf("it is %q, and was asked %d times with a wrong password", now.State, asked.Counts().Denied)
	}
	put(right)
	within(t, 5*time.Second, "the right password: streaming", func() bool { return c.camera("one").State == "streaming" })
	within(t, 500*time.Millisecond, "the right password: the warning is over", func() bool { return !c.warned("camera_refuses", "one") })
	shown += c.everything()
	c.ends()
	shown += c.stderr
	if !strings.Contains(shown, "refuses") {
		t.Error("what was looked at doesn't even say that the camera refuses")
	}
	for _, password := range []string{right, wrong, "user:", "dXNlcjp" /* user: in base64 */} {
		if at := strings.Index(shown, password); at >= 0 {
			t.Errorf("%q is shown: …%.200s", password, shown[max(0, at-100):])
		}
	}
}

// everything is all that the agent shows, and what the system shows of its processes.
func (c *cell) everything() string {
	c.t.Helper()
	var all strings.Builder
	for _, path := range []string{
		"/v1/cameras", "/v1/cameras/one", "/v1/stations", "/v1/stations/one", "/v1/health", "/v1/results", "/v1/updates",
		"/healthz", "/metrics", "/", "/stations/one", "/cameras", "/cameras/one",
	} {
		text, code := c.get(path)
		if code == 0 || code == http.StatusInternalServerError {
			c.t.Errorf("%s: %d", path, code)
		}
		fmt.Fprintf(&all, "%s: %d\n%s\n", path, code, text)
	}
	for _, pid := range append(c.below(), c.cmd.Process.Pid) {
		for _, file := range []string{"cmdline", "environ"} {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
			if err != nil {
				continue // it has ended
			}
			fmt.Fprintf(&all, "%d %s: %s\n", pid, file, bytes.ReplaceAll(b, []byte{0}, []byte(" ")))
		}
	}
	return all.String()
}

// TestReferenceOutlivesItsAgent: the reference picture that was set is still there
// after a kill -9; and a camera that was pushed is told, with a picture.
func TestReferenceOutlivesItsAgent(t *testing.T) {
	t.Parallel()
	w := &wall{}
	c := newCell(t,
		"cameras:", fmt.Sprintf("  - {id: eye, source: \"http://%s/camera\"}", mjpegCamera(t, w).Addr()),
		"stations:", "  - {id: one, bundle: caps, camera: eye}",
	).start()
	eventually(t, "pictures", func() bool { return c.camera("eye").State == "streaming" })
	if c.camera("eye").Reference {
		t.Error("there is a reference picture before one was set")
	}
	if text, code := c.post("/v1/cameras/eye/reference"); code != http.StatusNoContent || !c.camera("eye").Reference {
		t.Fatalf("set the reference: %d %s", code, text)
	}
	for range rounds(1, 20) {
		c.kill()
		c.start()
		eventually(t, "pictures", func() bool { return c.camera("eye").State == "streaming" })
		if !c.camera("eye").Reference {
			t.Fatal("the reference picture is gone with its agent")
		}
	}
	known := c.camera("eye").Captured + 14*beltRate
	t.Run("meanwhile a wrong password", wrongPassword)
	eventually(t, "what is fixed in front of the camera is known", func() bool { return c.camera("eye").Captured > known })
	if now := c.camera("eye"); len(now.Faults) > 0 {
		t.Errorf("nothing has happened: %+v", now)
	}
	w.pushed.Store(20)
	within(t, 8*time.Second, "the camera was pushed: camera_moved", func() bool { return c.warned("camera_moved", "eye") })
	text, code := c.get("/v1/cameras/eye/faults/moved/picture.jpg")
	if m, err := jpeg.Decode(strings.NewReader(text)); err != nil || m.Bounds() != image.Rect(0, 0, beltWidth, beltHeight) {
		t.Errorf("the picture of it: %d, %v", code, err)
	}
	c.ends()
}
