package capture

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The fake camera can't send packets again, so each that it loses costs a
// picture, which must be counted and never be seen.
func TestGenICamLosesPackets(t *testing.T) {
	t.Parallel()
	needGV(t, "-r", "5")
	frames := 25
	if full {
		frames = 1000
	}
	r := start(t, gvConfig(Options{Format: "Mono8", Rate: 100, Width: 256, Height: 256}))
	slides(t, r, frames, nil)
	s := r.Stats()
	if s.Dropped.Incomplete == 0 {
		t.Errorf("no picture was incomplete: %+v", s)
	}
	t.Logf("0 of %d frames torn; of %d, %d came incomplete, %d late", frames, s.Captured, s.Dropped.Incomplete, s.Dropped.Late)
}

// At a slow rate an incomplete picture is given up before the next one comes, so
// no newer one stands between it and whoever would take it for whole.
func TestGenICamLosesPacketsSlowly(t *testing.T) {
	t.Parallel()
	needFull(t)
	needGV(t, "-r", "10")
	r := start(t, gvConfig(Options{Format: "Mono8", Rate: 8, Width: 256, Height: 256}))
	slides(t, r, 60, nil)
	if s := r.Stats(); s.Dropped.Incomplete == 0 {
		t.Errorf("no picture was incomplete: %+v", s)
	}
}

func TestGenICamNeverWhole(t *testing.T) {
	t.Parallel()
	needFull(t)
	needGV(t, "-r", "200")
	c := gvConfig(Options{Format: "Mono8", Rate: 100})
	c.Silence = 500 * time.Millisecond
	r := start(t, c)
	eventually(t, 10*time.Second, "the reason", func() bool { return strings.Contains(r.Stats().LastError, "came whole: packets are lost") })
	if s := r.Stats(); s.State == Streaming || !s.LastFrame.IsZero() {
		t.Errorf("stats %+v", s)
	}
}

func TestGenICamSoftwareTrigger(t *testing.T) {
	t.Parallel()
	needGV(t)
	r := start(t, gvConfig(Options{Trigger: "software", Width: 128, Height: 128}))
	eventually(t, 10*time.Second, "waiting", func() bool { return r.Stats().State == Waiting })
	// The fake camera may send pieces that nobody has asked for; whole pictures count.
	whole := func() uint64 { s := r.Stats(); return s.Captured - s.Dropped.Incomplete }
	base := whole()
	for i := range 5 {
		f := r.fired()
		slide(t, f)
		f.Release()
		if n := whole() - base; n != uint64(i+1) {
			t.Errorf("%d pictures for %d triggers", n, i+1)
		}
	}
	// It waits on, and nothing comes by itself.
	eventually(t, 5*time.Second, "waiting again", func() bool { return r.Stats().State == Waiting })
	if s := r.Stats(); whole() != base+5 || s.Restarts > 0 {
		t.Errorf("stats %+v", s)
	}
}

// back waits for the next frame after the camera is there again.
func (g *gvCamera) back(r *running) {
	g.t.Helper()
	began := time.Now()
	for {
		f := r.next(20 * time.Second)
		fresh := f.Captured.After(began)
		f.Release()
		if fresh {
			break
		}
	}
	took := time.Since(began)
	g.t.Logf("frames again %v after the camera is there (%+v)", took.Round(time.Millisecond), r.Stats().LastError)
	if took > 5*time.Second {
		g.t.Errorf("frames again after %v", took)
	}
}

// seen waits until a fault is noticed.
func (g *gvCamera) seen(r *running) {
	g.t.Helper()
	before, began := r.Stats().LastFault, time.Now()
	eventually(g.t, 10*time.Second, "the fault to be seen", func() bool { return r.Stats().LastFault != before })
	g.t.Logf("seen after %v: %s", time.Since(began).Round(time.Millisecond), r.Stats().LastError)
}

func TestGenICamIsKilled(t *testing.T) {
	t.Parallel()
	g := needGV(t)
	r := start(t, gvConfig(Options{Rate: 50}))
	f := r.next(10 * time.Second)
	f.Release()
	g.kill()
	g.seen(r)
	g.start()
	g.back(r)
}

// A camera that waits for a line is silent by nature; only its control channel
// tells that it is gone.
func TestGenICamLineTriggerAndFaults(t *testing.T) {
	t.Parallel()
	needFull(t)
	g := needGV(t)
	c := gvConfig(Options{Trigger: "Line0"})
	c.Silence = 700 * time.Millisecond
	r := start(t, c)
	waiting := func() bool { return r.Stats().State == Waiting }
	eventually(t, 10*time.Second, "waiting", waiting)
	until := time.Now().Add(5 * c.Silence)
	eventually(t, 10*time.Second, "a long wait", func() bool { return time.Now().After(until) })
	if s := r.Stats(); s.State != Waiting || s.Captured > 0 || s.Restarts > 0 {
		t.Errorf("stats %+v", s)
	}
	g.kill()
	g.seen(r)
	g.start()
	eventually(t, 5*time.Second, "waiting again", waiting)
	g.kill() // and at once again
	g.start()
	g.seen(r)
	eventually(t, 5*time.Second, "waiting again", waiting)
}

func TestGenICamStandsStill(t *testing.T) {
	t.Parallel()
	needFull(t)
	g := needGV(t)
	r := start(t, gvConfig(Options{Rate: 50}))
	f := r.next(10 * time.Second)
	f.Release()
	for range 3 {
		g.signal(syscall.SIGSTOP)
		g.seen(r)
		g.signal(syscall.SIGCONT)
		g.back(r)
	}
}

func TestGenICamIsHeld(t *testing.T) {
	t.Parallel()
	needFull(t)
	needGV(t)
	if held, err := controlled(gvAddress); err != nil || held {
		t.Errorf("before: held %v, %v", held, err)
	}
	first := start(t, gvConfig(Options{Rate: 50}))
	f := first.next(10 * time.Second)
	f.Release()
	if held, err := controlled(gvAddress); err != nil || !held {
		t.Errorf("held %v, %v", held, err)
	}
	second := start(t, gvConfig(Options{}))
	eventually(t, 15*time.Second, "the refusal", func() bool {
		return strings.Contains(second.Stats().LastError, "another program holds control of camera "+gvAddress)
	})
	slides(t, first, 20, nil) // it isn't disturbed
	if s := first.Stats(); s.Restarts > 0 {
		t.Errorf("stats of the first %+v", s)
	}
	first.stop()
	<-first.done
	f = second.next(10 * time.Second)
	f.Release()
}

// aloneKey, in the environment, says that this process has a network of its own.
const aloneKey = "SIGHTLINE_TEST_ALONE"

// alone runs the test once more where there is no network but loopback: looking
// for cameras asks on every network that there is. It returns true there.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv(aloneKey) != "" {
		return true
	}
	cmd := exec.Command("unshare", "-rn", "sh", "-c", `ip link set lo up && exec "$0" "$@"`, os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = slices.DeleteFunc(append(os.Environ(), aloneKey+"=1"), func(v string) bool { return strings.HasPrefix(v, asWorker) })
	out, err := cmd.CombinedOutput()
	switch {
	case strings.Contains(string(out), "unshare: ") || strings.Contains(string(out), "ip: not found") || errors.Is(err, exec.ErrNotFound):
		t.Skipf("left out: a network of its own: %v: %s", err, out)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

func TestGenICamByName(t *testing.T) {
	t.Parallel()
	needFull(t)
	if !alone(t) {
		return
	}
	needGV(t, "-s", "NAMED")
	for _, name := range []string{"Aravis-Fake-NAMED", ""} {
		c := config("aravis:" + name)
		r := start(t, c)
		f := r.next(15 * time.Second)
		slide(t, f)
		f.Release()
		r.stop()
		<-r.done
	}
	r := start(t, config("aravis:nobody"))
	eventually(t, 15*time.Second, "the reason", func() bool {
		return strings.Contains(r.Stats().LastError, "no industrial camera nobody answers: sightline-capture devices lists")
	})
}
