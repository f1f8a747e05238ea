package agent

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/capture"
	"github.com/sightline-edge/sightline/vision/picture"
	"github.com/sightline-edge/sightline/vision/quality"
)

// Severity says what becomes of parts while a camera's pictures lie.
type Severity uint8

// The severities. The zero value only warns.
const (
	Warns   Severity = iota
	Rejects          // parts that were in view meanwhile get NONE camera_…
	Ignored          // nobody is told
)

// CameraConfig says what a Camera is. Source must be given.
type CameraConfig struct {
	ID      string          // its name; "" for the only camera of a station that has none
	Source  *capture.Camera // what reads it
	Address string          // of the source, as it may be shown

	Checks    map[quality.Fault]Severity
	Reference *vision.Frame             // what it should show; nil: unknown
	Keep      func(*vision.Frame) error // keeps another Reference for the next start; nil: the Reference stays as it is
	Log       *slog.Logger
}

// Camera is one camera of the device with the stations that look through it. It
// watches its pictures for lies, whoever else uses them.
type Camera struct {
	cfg     CameraConfig
	monitor *quality.Monitor
	live    *live
	feed    *capture.Feed // the camera's own, nil where every picture counts and none lies
	fires   fires         // of its software trigger

	mu       sync.Mutex               // protects all below
	lastFire <-chan struct{}          // closed when the last trigger in the queue has its picture; nil: none was there
	users    int                      // stations that still take pictures
	evidence map[quality.Fault][]byte // JPEG with which it was found
	doubts   []doubt                  // when its pictures were not to be trusted, oldest first
	refer    chan error               // gets what came of the reference that is to be set; nil: none is
}

// NewCamera makes a camera for the stations that are given it.
func NewCamera(cfg CameraConfig) *Camera {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Camera{cfg: cfg, live: newLive(), evidence: map[quality.Fault][]byte{}}
	c.monitor = quality.New(quality.Config{Reference: cfg.Reference})
	if cfg.Source.Drops() {
		c.feed = cfg.Source.Feed()
	}
	return c
}

// Name is what results call the camera: its ID, or its address without one.
func (c *Camera) Name() string {
	if c.cfg.ID != "" {
		return c.cfg.ID
	}
	return c.cfg.Address
}

// Source is what reads the camera.
func (c *Camera) Source() *capture.Camera { return c.cfg.Source }

// use gives a station its feed.
func (c *Camera) use() *capture.Feed {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.users++
	return c.cfg.Source.Feed()
}

// leave notes that a station takes no more pictures; without any the camera is
// let go.
func (c *Camera) leave(f *capture.Feed) {
	f.Close()
	c.mu.Lock()
	c.users--
	last := c.users == 0
	c.mu.Unlock()
	if last && c.feed != nil {
		c.feed.Close()
	}
}

// place is a trigger's place among those that want exposures of one camera. Each
// goes when the one before has its picture, or has given up.
type place struct {
	before <-chan struct{} // nil: nobody is before
	gone   chan struct{}
}

// queue takes the last place.
func (c *Camera) queue() place {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := place{c.lastFire, make(chan struct{})}
	c.lastFire = p.gone
	return p
}

// leave makes way for the next one, not before those in front have gone.
func (p place) leave() {
	if p.before == nil {
		close(p.gone)
		return
	}
	go func() {
		<-p.before
		close(p.gone)
	}()
}

// wait waits until it is its turn.
func (p place) wait(ctx context.Context) error {
	if p.before == nil {
		return nil
	}
	select {
	case <-p.before:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fire makes a camera with a software trigger take a picture of what is before it, not
// after that time, and gives it to the caller, who must release it. It doesn't while an
// earlier picture is on its way: it couldn't be told from its own.
func (c *Camera) fire(ctx context.Context, p place, x *shutter, by time.Time) (*capture.Frame, error) {
	defer p.leave()
	soon, cancel := context.WithDeadline(ctx, by)
	defer cancel()
	if p.wait(soon) != nil || c.fires.clear(soon, c.session) != nil || !time.Now().Before(by) {
		return nil, errLost // the part has gone on
	}
	s, err := c.shoot(true)
	if err != nil {
		return nil, err
	}
	defer c.fires.abandon(s)
	return x.number(ctx, func() uint64 { return c.fires.number(s) })
}

// shoot makes the camera take a picture. Whoever calls it has the place in front.
func (c *Camera) shoot(awaited bool) (*fired, error) {
	s := c.fires.begin(time.Now(), awaited)
	if err := c.cfg.Source.Fire(); err != nil {
		c.fires.cancel(s)
		return nil, err
	}
	session, _ := c.session() // behind Fire: what a new session doesn't owe isn't dropped too soon
	c.fires.sent(s, session)
	return s, nil
}

// session numbers the processes that have read the camera, and tells its exposure.
func (c *Camera) session() (number uint64, exposure time.Duration) {
	exposure, _ = c.cfg.Source.Exposure()
	return c.cfg.Source.Stats().Restarts, exposure
}

// landed hears of each picture before a trigger can get it.
func (c *Camera) landed(f *capture.Frame) {
	if c.cfg.Source.Triggers() {
		session, exposure := c.session()
		c.fires.landed(f, session, exposure)
	}
}

// awaitsTrigger tells whether the camera gives a picture for each trigger alone.
func (c *Camera) awaitsTrigger() bool { return c.cfg.Source.Patient() }

// run reads the camera until the context ends, it is over, or no station uses it
// any more. Why it failed is told by the stations' feeds.
func (c *Camera) run(ctx context.Context) {
	var g errgroup.Group
	g.Go(func() error {
		_ = c.cfg.Source.Run(ctx) // the feeds give the error, behind the last frame
		return nil
	})
	if c.feed != nil {
		keep, end := context.WithCancel(ctx)
		g.Go(func() error { return c.live.run(keep) })
		g.Go(func() error {
			defer end()
			defer c.live.close()
			c.watch(ctx)
			return nil
		})
	}
	_ = g.Wait() // only a live picture that can't be encoded, which nobody misses
}

// watch looks at each picture that it gets hold of.
func (c *Camera) watch(ctx context.Context) {
	for {
		f, err := c.feed.Next(ctx)
		if err != nil {
			return
		}
		c.see(&f.Frame)
		c.live.offer(time.Now(), &f.Frame, nil, nil)
		f.Release()
	}
}

// see looks at one picture.
func (c *Camera) see(f *vision.Frame) {
	c.monitor.Look(f)
	found := c.told()
	c.prove(f, found)
	c.distrust(f.Captured, found)
	c.refresh(f)
}

// told are the faults of the pictures, without those that are ignored.
func (c *Camera) told() []quality.Finding {
	return slices.DeleteFunc(c.monitor.Findings(), func(f quality.Finding) bool { return c.cfg.Checks[f.Fault] == Ignored })
}

// prove keeps the picture with which a fault was found.
func (c *Camera) prove(f *vision.Frame, found []quality.Finding) {
	var jpeg []byte
	if c.unproved(found) {
		var err error // encoded without the lock, which verdicts need
		if jpeg, err = picture.EncodeJPEG(f, picture.Encoding{Quality: liveQuality, MaxSide: liveSide}); err != nil {
			c.cfg.Log.Warn("picture of a camera's fault", "camera", c.Name(), "err", err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for fault := range c.evidence {
		if !slices.ContainsFunc(found, func(x quality.Finding) bool { return x.Fault == fault }) {
			delete(c.evidence, fault)
		}
	}
	for _, x := range found {
		if _, known := c.evidence[x.Fault]; !known {
			c.evidence[x.Fault] = jpeg
		}
	}
}

// unproved tells whether one of the faults has no picture yet.
func (c *Camera) unproved(found []quality.Finding) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(found, func(x quality.Finding) bool { _, known := c.evidence[x.Fault]; return !known })
}

// SetReference makes the next picture the camera's reference, for good.
func (c *Camera) SetReference(ctx context.Context) error {
	if c.cfg.Keep == nil || c.feed == nil {
		return errors.New("its reference picture can't be set here: the configuration names one as reference, or it is no camera")
	}
	done := make(chan error, 1)
	c.mu.Lock()
	busy := c.refer != nil
	if !busy {
		c.refer = done
	}
	c.mu.Unlock()
	if busy {
		return errors.New("its reference picture is being set already")
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		c.mu.Lock()
		waits := c.refer == done
		if waits { // not another's request, which may have followed
			c.refer = nil
		}
		c.mu.Unlock()
		if !waits {
			return <-done // it is being set right now
		}
		return errors.New("the camera gives no picture that could be the reference")
	}
}

// refresh makes a frame the reference if somebody waits for that.
func (c *Camera) refresh(f *vision.Frame) {
	c.mu.Lock()
	done := c.refer
	c.refer = nil
	c.mu.Unlock()
	if done == nil {
		return
	}
	own := *f
	own.Pix = slices.Clone(f.Pix)
	before := c.monitor.Reference()
	err := c.monitor.SetReference(&own)
	if err == nil {
		err = c.cfg.Keep(&own)
	}
	if err != nil { // what was compared with before stays
		_ = c.monitor.SetReference(before) // it could be taken once
	}
	done <- err
}

// findings are what is wrong with the pictures now, without what is ignored.
func (c *Camera) findings() []quality.Finding {
	if st := c.cfg.Source.Stats().State; st != capture.Streaming && st != capture.Waiting { // what isn't there doesn't lie
		return nil
	}
	return c.told()
}

// proof is the picture with which a fault was found.
func (c *Camera) proof(f quality.Fault) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	jpeg := c.evidence[f]
	return jpeg, jpeg != nil
}
