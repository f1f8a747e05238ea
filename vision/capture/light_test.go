package capture

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func TestExposuresThatCantBeSet(t *testing.T) {
	for _, c := range []struct {
		source string
		set    time.Duration
		want   string
	}{
		{"http://127.0.0.1:1/", time.Millisecond, "only V4L2 and industrial cameras have an exposure that can be set"},
		{t.TempDir(), time.Millisecond, "only V4L2 and industrial cameras"},
		{"aravis:127.0.0.1", -1, "an exposure must be at most 1m0s, got -1ns"},
		{"aravis:127.0.0.1", time.Hour, "an exposure must be at most 1m0s, got 1h0m0s"},
		{"/dev/video77", 0, "no exposure is configured to go back to"},
	} {
		cfg := config(c.source)
		cfg.CaptureBinary = cfg.SelfExecutable
		cam, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := cam.SetExposure(c.set); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v gives %v, want %q", c.source, c.set, err, c.want)
		}
		if cam.exposure != 0 {
			t.Errorf("%s: %v is kept although it was refused", c.source, cam.exposure)
		}
	}
}

// TestWhichPicturesHaveWhichExposure: pictures of before, and those in doubt, are never
// told as new ones.
func TestWhichPicturesHaveWhichExposure(t *testing.T) {
	const old, set = 5 * time.Millisecond, 9 * time.Millisecond
	l := lit{doubt: 2, now: old}
	see := func(when string, mono int64, want time.Duration) {
		t.Helper()
		if got := l.of(mono); got != want {
			t.Errorf("%s: %v, want %v", when, got, want)
		}
	}
	see("before", monotonic(), old)
	before := monotonic()
	err := l.change(set, func() error {
		see("while it is being set", monotonic(), 0)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		see("an old picture that comes late", before, 0)
	}
	after := monotonic() + 1
	see("the first after it", after, 0)
	see("the second after it", after, 0)
	see("the third", after, set)
	see("one more", after, set)
	if err := l.change(old, func() error { return errors.New("out of range") }); err == nil {
		t.Error("the error is lost")
	}
	for range 5 {
		see("after an error", monotonic()+1, 0)
	}
	l.doubt = 0
	if err := l.change(old, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	see("with a trigger", monotonic()+1, old)
}

// bright tells whether a picture of the fake camera is as bright as the exposure makes
// it: a ramp times 1 + log10(exposure/10 ms).
func bright(f *Frame, exposure time.Duration) bool {
	scale := 1 + math.Log10(float64(exposure)/float64(10*time.Millisecond))
	fits := func(from int) bool {
		for i, v := range f.Pix {
			want := min(255, math.Floor(float64((from+i%f.Width+i/f.Width)%255)*scale))
			if math.Abs(float64(v)-want) > 1 {
				return false
			}
		}
		return true
	}
	for from := range 255 {
		if fits(from) {
			return true
		}
	}
	return false
}

// lightOf reads until a frame has the exposure, and checks every frame that claims one.
func lightOf(t *testing.T, r *running, want time.Duration) {
	t.Helper()
	for until := time.Now().Add(15 * time.Second); time.Now().Before(until); {
		f := r.next(15 * time.Second)
		got := f.Exposure
		if got != 0 && !bright(f, got) {
			t.Errorf("frame %d isn't as bright as %v makes it", f.Seq, got)
		}
		if f.Release(); got == want {
			return
		}
	}
	t.Fatalf("no frame was exposed for %v (%+v)", want, r.Stats())
}

func TestGenICamExposureIsChanged(t *testing.T) {
	t.Parallel()
	g := needGV(t)
	set := func(r *running, d time.Duration) {
		t.Helper()
		if err := r.SetExposure(d); err != nil {
			t.Error(err)
		}
	}
	const configured = 10 * time.Millisecond
	o := Options{Format: "Mono8", Width: 100, Height: 40, Rate: 50, Exposure: configured}
	r := start(t, gvConfig(o))
	lightOf(t, r, configured)
	for _, d := range []time.Duration{40 * time.Millisecond, 20 * time.Millisecond, 80 * time.Millisecond} {
		set(r, d)
		lightOf(t, r, d)
	}
	set(r, 20*time.Second)
	const refused = "exposure: 2e+07 µs is out of the camera's range, 10 to 1e+07 µs"
	eventually(t, 10*time.Second, "the refusal", func() bool { return strings.Contains(r.Stats().LastError, refused) })
	for n := 0; n < 5; n++ { // it goes on as it was
		f := r.next(10 * time.Second)
		if f.Exposure != 80*time.Millisecond && f.Exposure != 0 || !bright(f, 80*time.Millisecond) {
			t.Errorf("after the refusal frame %d has %v", f.Seq, f.Exposure)
		}
		f.Release()
	}
	set(r, 0)
	lightOf(t, r, configured)
	if s := r.Stats(); s.Restarts != 0 {
		t.Errorf("the worker was started again: %+v", s)
	}
	set(r, 40*time.Millisecond)
	g.kill()
	g.start()
	eventually(t, 20*time.Second, "the camera to be reached anew", func() bool { return r.Stats().Restarts > 0 })
	lightOf(t, r, 40*time.Millisecond)
	r.stop()
	<-r.done

	// Behind the wrapper of a ROI, and by trigger: the picture that is fired next has it.
	o.Trigger, o.Rate, o.ROI = "software", 0, [4]int{0, 0, 80, 30}
	r = start(t, gvConfig(o))
	eventually(t, 20*time.Second, "the camera to be reached", func() bool { return r.Stats().State == Waiting })
	r.fired().Release()
	for n := range 6 {
		d := []time.Duration{40 * time.Millisecond, 20 * time.Millisecond}[n%2]
		set(r, d)
		f := r.fired()
		if f.Exposure != d || !bright(f, d) {
			t.Errorf("picture %d, fired after %v was set, has %v (bright as set: %v)", n, d, f.Exposure, bright(f, d))
		}
		f.Release()
	}
}
