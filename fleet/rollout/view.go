package rollout

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/fleet/store"
)

// View is a rollout as people see it.
type View struct {
	store.Rollout // Reason says what is waited for, or why it stands
	Conditions    Conditions
	Waves         []WaveView
	Devices       []DeviceView // by wave and ID
}

// WaveView counts a wave's devices. Those that are none of the others are at
// work.
type WaveView struct {
	Size       int // all
	Proven     int // have proved that they run it
	Unmeasured int // of those, their golden pictures are no proof
	Running    int // run it, and haven't proved it
	Failed     int
	Silent     int
	Waiting    int // for an operator, or the window
	Away       int // not connected, and not yet silent
	Planned    int
	Finished   int // went back, or were cancelled
	Out        int // revoked, or without a station that follows the bundle
}

// DeviceView is one device.
type DeviceView struct {
	store.RolloutDevice
	Label       string
	Done, Total uint64 // bytes fetched
	Waits       string // what is waited for, and until when
	Unmeasured  string // why its golden pictures, which came out right, are no proof on it; "" where they are, or haven't run
}

// List are the newest rollouts first, at most so many, without their devices.
func (e *Engine) List(ctx context.Context, most int) ([]View, error) {
	all, err := e.cfg.Store.Rollouts(ctx, most)
	if err != nil {
		return nil, err
	}
	present, err := e.cfg.Store.Present(ctx, "")
	if err != nil {
		return nil, err
	}
	var views []View
	for _, r := range all {
		v, err := e.view(ctx, r, present)
		if err != nil {
			return nil, err
		}
		v.Devices = nil
		views = append(views, *v)
	}
	return views, nil
}

// Get is one of them; store.ErrNotFound without.
func (e *Engine) Get(ctx context.Context, id string) (*View, error) {
	r, err := e.cfg.Store.Rollout(ctx, id)
	if err != nil {
		return nil, err
	}
	present, err := e.cfg.Store.Present(ctx, "")
	if err != nil {
		return nil, err
	}
	return e.view(ctx, *r, present)
}

// Events are the newest lines of a rollout's history first, at most so many.
func (e *Engine) Events(ctx context.Context, id string, most int) ([]store.RolloutEvent, error) {
	return e.cfg.Store.RolloutEvents(ctx, id, most)
}

func (e *Engine) view(ctx context.Context, r store.Rollout, present []store.Device) (*View, error) {
	l, err := e.read(ctx, r)
	if err != nil {
		return nil, err
	}
	now, labels := e.cfg.Now(), map[string]string{}
	for i := range present {
		if d := l.of[present[i].ID]; d != nil {
			d.presence, d.since = present[i].Presence(now)
			d.seen = present[i].Heard
			labels[d.Device] = present[i].Label
		}
	}
	v := &View{Rollout: r, Conditions: l.cond}
	for _, d := range l.devices {
		for len(v.Waves) <= d.Wave {
			v.Waves = append(v.Waves, WaveView{})
		}
		v.Waves[d.Wave].add(d)
		f := sum(d.Report, l.Digest[:])
		one := DeviceView{RolloutDevice: d.RolloutDevice, Label: labels[d.Device], Done: f.done, Total: f.total, Waits: l.waitsFor(d)}
		if d.unmeasured() {
			one.Unmeasured = d.Text
		} else if d.State != Proven && passed(d.State) {
			one.Unmeasured = f.unmeasured
		}
		v.Devices = append(v.Devices, one)
	}
	if v.Reason == "" {
		v.Reason = l.why()
	}
	return v, nil
}

// unmeasured reports whether the device has proved that it runs the bundle, on a
// provider where its golden pictures are no proof.
func (d *device) unmeasured() bool { return d.State == Proven && d.Reason == ReasonUnmeasured }

func (w *WaveView) add(d *device) {
	w.Size++
	switch {
	case !counted(d.State):
		w.Out++
	case d.State == Planned:
		w.Planned++
	case d.State == Proven:
		w.Proven++
		if d.unmeasured() {
			w.Unmeasured++
		}
	case failed(d.State):
		w.Failed++
	case d.State == Silent:
		w.Silent++
	case d.State == Cancelled || d.State == WentBack:
		w.Finished++
	case d.presence != store.Online:
		w.Away++
	case waits(d.State):
		w.Waiting++
	case runs(d.State):
		w.Running++
	}
}

// why is what a rollout waits for that has no other reason.
func (l *live) why() string {
	var wave tally
	for _, d := range l.devices {
		if d.Wave == l.Wave || l.State == RollingBack {
			wave.add(d)
		}
	}
	switch l.State {
	case Running:
		if all := wave.waits(); len(all) > 0 {
			return fmt.Sprintf("wave %d waits for %s", l.Wave+1, strings.Join(all, ", "))
		}
	case RollingBack:
		n := 0
		for _, d := range l.devices {
			if d.State == GoingBack {
				n++
			}
		}
		return devices(n) + " to go back"
	case Paused:
		return "paused: nothing new is sent"
	}
	return ""
}

// waitsFor says what a device is waited for, and until when.
func (l *live) waitsFor(d *device) string {
	if !l.active() || d.Wave > l.Wave || !works(d.State) && !waits(d.State) {
		return ""
	}
	left := brief(max(0, l.cond.Timeout-d.Worked).Round(time.Second))
	switch {
	case d.presence != store.Online:
		until := later(d.seen, l.Opened).Add(l.cond.Silence)
		return "not connected; counts as silent from " + until.Local().Format(time.DateTime)
	case d.State == WaitsOperator:
		return "waits for an operator's OK on the device's page, however long that takes"
	case d.State == WaitsWindow:
		return "waits for the time in which it may switch"
	case idle(d):
		return "waits for parts to judge by, however long that takes"
	case d.Sent == 0:
		return ""
	case d.Heard.IsZero():
		return fmt.Sprintf("no answer yet, told %s; fails in %s", times(d.Sent), left)
	}
	return fmt.Sprintf("fails unless it is done in %s", left)
}

// brief is a duration without its zeros: 24h, not 24h0m0s.
func brief(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
