package capture

import (
	"syscall"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision/scene/ipcam"
)

// mishap is one kind of what happens to cameras.
type mishap struct {
	name   string
	fits   func(*rig) bool // nil: every rig
	strike func(*testing.T, *rig)
	seen   func(r *rig, was seen) bool // nil: noticed
	until  func(r *rig, was seen) bool // it isn't lifted before; nil: no sooner than it is seen
	lift   func(*testing.T, *rig)      // nil: it is over when it was seen
}

// seen is how a rig looked before a mishap.
type seen struct {
	stats Stats
	sight sight
}

// noticed tells whether the camera's figures show that something is wrong.
func noticed(r *rig, was seen) bool {
	now := r.Stats()
	bad := func(d Dropped) uint64 { return d.Unreadable + d.Incomplete + d.Stale }
	return now.State != Streaming || now.Restarts > was.stats.Restarts || bad(now.Dropped) > bad(was.stats.Dropped)
}

// resized tells whether frames of another size come.
func resized(r *rig, was seen) bool { return r.sight().width != was.sight.width }

func isRTSP(r *rig) bool  { return r.ctl != nil }
func overTCP(r *rig) bool { return !r.udp }
func leaks(r *rig) bool   { return r.leak != 0 }

// door is a fault of the connection.
func door(f ipcam.Fault) func(*testing.T, *rig) {
	return func(t *testing.T, r *rig) {
		if err := r.gate.Set(f); err != nil {
			t.Error(err)
		}
	}
}

// played is a fault of the camera itself; again hangs up, so that it meets the
// camera as it is asked anew.
func played(s ipcam.Script, again bool) func(*testing.T, *rig) {
	return func(_ *testing.T, r *rig) {
		r.ctl.Set(s)
		if again {
			r.ctl.HangUp()
		}
	}
}

// hit sends the worker a signal.
func hit(s syscall.Signal) func(*testing.T, *rig) {
	return func(t *testing.T, r *rig) {
		if pid := r.pid(); pid != 0 {
			if err := syscall.Kill(pid, s); err != nil {
				t.Error(err)
			}
		}
	}
}

// resize gives the camera the other size.
func resize(t *testing.T, r *rig) {
	r.large = !r.large
	if r.mjpeg == nil {
		r.play.To(r.stream(t))
		return
	}
	w, h := rigWidth, rigHeight
	if r.large {
		w, h = rigWidth2, rigHeight2
	}
	if err := r.mjpeg.Resize(w, h); err != nil {
		t.Error(err)
	}
}

// recode gives the camera the other codec, without a word to who watches.
func recode(t *testing.T, r *rig) {
	r.codec = ipcam.H264 + ipcam.H265 - r.codec
	r.play.To(r.stream(t))
}

// lockOut is a password that isn't right any more, until someone corrects it.
func lockOut(t *testing.T, r *rig) {
	r.deny.Store(true)
	if r.ctl != nil {
		r.ctl.Set(ipcam.Script{Deny: true})
	}
	door(ipcam.Cut)(t, r)
	door(ipcam.None)(t, r)
}

func letIn(t *testing.T, r *rig) {
	r.deny.Store(false)
	if r.ctl != nil {
		r.ctl.Set(ipcam.Script{})
	}
	r.renew(t)
}

// lose lets packets get lost; it returns when the first one is.
func lose(share float64) func(*testing.T, *rig) {
	return func(t *testing.T, r *rig) {
		from := r.ctl.Counts().Lost
		r.ctl.Set(ipcam.Script{Loss: share})
		until(t, stuckAfter, r.name+": a packet to get lost", func() bool { return r.ctl.Counts().Lost > from })
	}
}

// catchUp lets the camera send the last second and more again to who comes.
func catchUp(t *testing.T, r *rig) {
	r.ctl.Set(ipcam.Script{Backlog: 30})
	from := r.draw.count()
	until(t, 20*time.Second, r.name+": a past to be there", func() bool { return r.draw.count() > from+40 })
	r.ctl.HangUp()
}

func since1970() time.Duration { return time.Until(time.Unix(0, 0)) }

func refused(r *rig, _ seen) bool { return r.Stats().State == Refused }

// mishaps are what the campaign draws from.
func mishaps() []mishap {
	well := played(ipcam.Script{}, false)
	answer := func(method, with string) func(*testing.T, *rig) {
		return played(ipcam.Script{Answers: map[string]string{method: with}}, true)
	}
	return []mishap{
		{name: "silence", fits: overTCP, strike: door(ipcam.Freeze), lift: door(ipcam.None)},
		{name: "refused", fits: overTCP, strike: door(ipcam.Refuse), lift: door(ipcam.None)},
		{name: "reset", fits: overTCP, strike: door(ipcam.Reset), lift: door(ipcam.None)},
		{name: "cut", strike: door(ipcam.Cut), lift: door(ipcam.None)},
		{name: "garbage on the line", fits: overTCP, strike: door(ipcam.Garbage), lift: door(ipcam.None)},
		{name: "wrong password once", fits: isRTSP, strike: lockOut, until: refused, lift: letIn},
		{name: "another size", strike: resize, seen: resized},

		{name: "worker killed", strike: hit(syscall.SIGKILL)},
		{name: "worker stopped", strike: hit(syscall.SIGSTOP)},
		{name: "worker grows", fits: leaks, strike: func(t *testing.T, r *rig) { hit(r.leak)(t, r) }},

		{name: "camera silent", fits: isRTSP, strike: played(ipcam.Script{Silent: true}, false), lift: well},
		{name: "camera half open", fits: isRTSP, strike: played(ipcam.Script{HalfOpen: true}, false), lift: well},
		{name: "camera hangs up", fits: isRTSP, strike: played(ipcam.Script{}, true)},
		{name: "camera sends noise", fits: isRTSP, strike: played(ipcam.Script{Garbage: 1}, false), lift: well},
		{name: "packets lost, 10 %", fits: isRTSP, strike: lose(.1), lift: well},
		{name: "packets lost, half", fits: isRTSP, strike: lose(.5), lift: well},
		{name: "backlog of 30", fits: isRTSP, strike: catchUp, lift: well},
		{name: "wrong rate", fits: isRTSP, strike: played(ipcam.Script{Rate: 5}, true), lift: well},
		{name: "another codec", fits: isRTSP, strike: recode},
		{name: "no answer to DESCRIBE", fits: isRTSP, strike: answer("DESCRIBE", ""), lift: well},
		{name: "no answer to SETUP", fits: isRTSP, strike: answer("SETUP", ""), lift: well},
		{name: "no answer to PLAY", fits: isRTSP, strike: answer("PLAY", ""), lift: well},
		{name: "453 to PLAY", fits: isRTSP, strike: answer("PLAY", "453 Not Enough Bandwidth"), lift: well},
		{name: "454 to PLAY", fits: isRTSP, strike: answer("PLAY", "454 Session Not Found"), lift: well},
		{name: "503 to DESCRIBE", fits: isRTSP, strike: answer("DESCRIBE", "503 Service Unavailable"), lift: well},
		{name: "nothing after PLAY", fits: isRTSP, strike: played(ipcam.Script{Silent: true}, true), lift: well},
		{name: "clock of 1970", fits: isRTSP, strike: played(ipcam.Script{ReportSkew: since1970()}, true), lift: well},
	}
}
