package capture

import (
	"strings"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/scene/ipcam"
)

// TestRTSPBacklog: of the burst with which the camera greets, nothing old is
// handed over, and each old picture is counted once.
func TestRTSPBacklog(t *testing.T) {
	t.Parallel()
	needFFmpeg(t)
	control := &ipcam.Control{}
	control.Set(ipcam.Script{Backlog: 30})
	d, addr := barcodeCamera(t, ipcam.H264, 25, ipcam.RTSP{Control: control})
	eventually(t, 10*time.Second, "a backlog", func() bool { return !d.when(60).IsZero() })
	r := start(t, config(addr))
	first := true
	for range 10 {
		f := r.next(10 * time.Second)
		n, err := d.read(f)
		if err != nil {
			t.Fatal(err)
		}
		off := f.Captured.Sub(d.when(n))
		if first {
			t.Logf("the first is %v old, by its stamp %v; %+v", time.Since(d.when(n)), off, r.Stats().Dropped)
		}
		if age := time.Since(d.when(n)); first && age > time.Second || off < -100*time.Millisecond || off > 700*time.Millisecond {
			t.Errorf("frame %d is %v old and stamped %v after it was drawn", f.Seq, age, off)
		}
		first = false
		f.Release()
	}
	if s := r.Stats(); s.Dropped.Stale < 20 || s.Dropped.Stale > 60 {
		t.Errorf("%d stale, at least 30 came in a burst", s.Dropped.Stale)
	}
}

// TestRTSPTimes: the time is the camera's where its clock goes with ours, and
// laid over ours by the fastest arrivals where it doesn't.
func TestRTSPTimes(t *testing.T) {
	t.Parallel()
	needFFmpeg(t)
	cases := []struct {
		name   string
		script ipcam.Script
		want   vision.Timing
	}{
		{"with a clock that goes with ours", ipcam.Script{ReportEvery: 200 * time.Millisecond}, vision.Synced},
		{"without reports", ipcam.Script{NoReports: true}, vision.Stamped},
		{"with a clock that is 5 s slow", ipcam.Script{ReportEvery: 200 * time.Millisecond, ReportSkew: -5 * time.Second}, vision.Stamped},
		{"with a clock that is 1 s fast", ipcam.Script{ReportEvery: 200 * time.Millisecond, ReportSkew: time.Second}, vision.Stamped},
		{"with a clock of 1970", ipcam.Script{ReportEvery: 200 * time.Millisecond, ReportSkew: -time.Until(time.Unix(0, 0)).Abs()}, vision.Stamped},
	}
	if !full {
		cases = cases[:1]
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			control := &ipcam.Control{}
			control.Set(c.script)
			d, addr := barcodeCamera(t, ipcam.H264, 10, ipcam.RTSP{Control: control})
			r := start(t, config(addr))
			var least, most time.Duration = time.Hour, 0
			var last vision.Timing
			limit := 8 * time.Second // 6 at least until a clock is believed
			if c.want == vision.Synced {
				limit = 40 * time.Second // each time that the camera or we were held up, it begins again
			}
			for began := time.Now(); time.Since(began) < limit && !(last == vision.Synced && c.want == vision.Synced); {
				f := r.next(10 * time.Second)
				n, err := d.read(f)
				if err != nil {
					t.Fatal(err)
				}
				off := f.Captured.Sub(d.when(n))
				if off < -20*time.Millisecond || f.Captured.After(time.Now()) {
					t.Errorf("frame %d is stamped %v after it was drawn", f.Seq, off)
				}
				least, most, last = min(least, off), max(most, off), f.Timing
				f.Release()
			}
			t.Logf("stamped %v to %v after it was drawn, %v", least, most, last)
			if last != c.want {
				t.Errorf("time is %v, want %v", last, c.want)
			}
		})
	}
}

// TestRTSPSilence: a camera that says nothing more is given up in time, however
// it does so, and whatever rate it announced.
func TestRTSPSilence(t *testing.T) {
	t.Parallel()
	needFFmpeg(t)
	cases := []struct {
		name, transport, want string
		script                ipcam.Script
	}{
		{"media over UDP stop", "udp", "the camera stopped sending", ipcam.Script{Silent: true, Rate: 1000}},
		{"nothing is read or written", "tcp", "the camera stopped sending", ipcam.Script{HalfOpen: true}},
		{"media stop", "tcp", "the camera stopped sending", ipcam.Script{Silent: true}},
	}
	if !full {
		cases = cases[:2]
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			control := &ipcam.Control{}
			control.Set(ipcam.Script{Rate: c.script.Rate})
			_, addr := barcodeCamera(t, ipcam.H264, 25, ipcam.RTSP{Control: control})
			cfg := config(addr)
			cfg.Transport, cfg.Silence = c.transport, 500*time.Millisecond
			r := start(t, cfg)
			f := r.next(10 * time.Second)
			f.Release()
			hurt := func() {
				tries, began := r.Stats().Restarts, time.Now()
				control.Set(c.script)
				eventually(t, 8*time.Second, "it to be given up", func() bool { return r.Stats().Restarts > tries })
				t.Logf("seen after %v: %s", time.Since(began).Round(time.Millisecond), r.Stats().LastError)
				if e := r.Stats().LastError; !strings.Contains(e, c.want) {
					t.Errorf("reason is %q, want %q", e, c.want)
				}
			}
			back(t, r, hurt, func() { control.Set(ipcam.Script{}) }, f.Seq)
		})
	}
}

func TestRTSPTransports(t *testing.T) {
	t.Parallel()
	needFFmpeg(t)
	for _, c := range []struct {
		transport, want string
		script          ipcam.Script
	}{
		{"udp", "", ipcam.Script{NoTCP: true}},
		{"tcp", "", ipcam.Script{NoUDP: true}},
		{"udp", "transport", ipcam.Script{NoUDP: true}},
		{"tcp", "transport", ipcam.Script{NoTCP: true}},
	} {
		t.Run(c.transport+" "+c.want, func(t *testing.T) {
			t.Parallel()
			control := &ipcam.Control{}
			control.Set(c.script)
			d, addr := barcodeCamera(t, ipcam.H265, 25, ipcam.RTSP{Control: control})
			cfg := config(addr)
			cfg.Transport = c.transport
			r := start(t, cfg)
			if c.want == "" {
				f := r.next(10 * time.Second)
				defer f.Release()
				if _, err := d.read(f); err != nil || r.Stats().Codec != "h265" {
					t.Errorf("%v, stats %+v", err, r.Stats())
				}
				return
			}
			eventually(t, 10*time.Second, "the reason", func() bool { return r.Stats().LastError != "" })
			if e := r.Stats().LastError; !strings.Contains(strings.ToLower(e), c.want) {
				t.Errorf("reason is %q", e)
			}
		})
	}
}

// TestRTSPStreamThatChangesItsCodec: the viewer isn't told. What comes can't be
// decoded, and the next worker asks anew.
func TestRTSPStreamThatChangesItsCodec(t *testing.T) {
	t.Parallel()
	needFFmpeg(t)
	drawing := ipcam.Drawing{Drawer: ramp{}, Width: 320, Height: 240, Rate: 25}
	var streams [2]ipcam.Stream
	for i, codec := range []ipcam.Codec{ipcam.H264, ipcam.H265} {
		drawing.Codec = codec
		s, err := ipcam.Drawn(drawing)
		if err != nil {
			t.Fatal(err)
		}
		streams[i] = s
	}
	stream := ipcam.NewSwitch(streams[0])
	_, addr := rtspCamera(t, ipcam.RTSP{Stream: stream.Play})
	cfg := config("rtsp://" + addr + "/cam")
	cfg.Silence = 500 * time.Millisecond
	r := start(t, cfg)
	for range 2 {
		f := r.next(10 * time.Second)
		whole(t, f)
		f.Release()
	}
	stream.To(streams[1])
	began := time.Now()
	for r.Stats().Codec != "h265" || r.Stats().State != Streaming {
		f := r.next(15 * time.Second)
		whole(t, f)
		f.Release()
	}
	t.Logf("after %v, %d restarts: %s", time.Since(began), r.Stats().Restarts, r.Stats().LastError)
	for range 10 {
		f := r.next(5 * time.Second)
		whole(t, f)
		f.Release()
	}
}
