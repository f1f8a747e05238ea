// Package capture reads cameras, recordings and pictures. Each source is read
// by a process of its own, which decodes into shared memory (package shm): a
// driver that hangs or a decoder that crashes costs that process, which is
// killed and started again. Camera is the agent's side, WorkerMain the
// process's. From a live camera the newest frame wins; a recording and a
// folder give every frame, in order.
package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/shm"
)

// Defaults of Config.
const (
	DefaultSlots   = 6
	DefaultSilence = 2 * time.Second
)

// Config says what a Camera reads, and with which programs.
type Config struct {
	Source   string // path of a file or folder; http(s):// (MJPEG), rtsp(s)://; /dev/video…; gst:PIPELINE
	Loop     bool   // begin a recording or folder again at its end; Media goes on counting
	Realtime bool   // play a recording by its own time stamps and drop frames as a camera would

	CaptureBinary  string   // path of sightline-capture; "" if it isn't installed
	SelfExecutable string   // the program that reads pictures and MJPEG, usually the agent itself
	SelfArgs       []string // its arguments that lead to WorkerMain

	Slots   int           // frames in shared memory; 0 means DefaultSlots, at least 2
	Silence time.Duration // a camera that gives nothing for so long is silent, and is reached anew after twice that; 0 means DefaultSilence
	Log     *slog.Logger  // nil discards
}

// Camera is one source with the process that reads it. Its methods may be
// called from any goroutine, Run once.
type Camera struct {
	cfg Config
	src source
	log *slog.Logger

	wake  chan struct{} // a frame was queued, or the end was set; room for one
	ended chan struct{} // closed when Run is over

	mu    sync.Mutex // protects what follows
	queue []*Frame   // in order; at most one for sources that drop
	end   error      // why Next gives nothing more; io.EOF at the regular end
	stats stats
}

// New checks the source and the programs that it needs. It starts nothing.
func New(cfg Config) (*Camera, error) {
	src, err := parseSource(cfg.Source)
	if err != nil {
		return nil, err
	}
	cfg.Slots, cfg.Silence = orDefault(cfg.Slots, DefaultSlots), orDefault(cfg.Silence, DefaultSilence)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	shown := Redact(cfg.Source)
	switch {
	case cfg.Slots < 2 || cfg.Slots > shm.MaxSlots:
		return nil, fmt.Errorf("source %s: %d frame slots: 2 to %d are possible", shown, cfg.Slots, shm.MaxSlots)
	case cfg.Silence < 100*time.Millisecond:
		return nil, fmt.Errorf("source %s: silence of %v: at least 100ms", shown, cfg.Silence)
	case cfg.Loop && src.kind.live():
		return nil, fmt.Errorf("source %s: a camera has no end to loop at; only files and folders can be looped", shown)
	case cfg.Realtime && (src.kind == folder || src.kind == pictureOne):
		return nil, fmt.Errorf("source %s: pictures have no time stamps to be played by; real time is for recordings", shown)
	case src.kind.openCV() && cfg.CaptureBinary == "":
		return nil, fmt.Errorf("source %s: videos, RTSP and devices need sightline-capture, which isn't installed: run make setup and make build, or install its package", shown)
	case !src.kind.openCV() && cfg.SelfExecutable == "":
		return nil, fmt.Errorf("source %s: no program to read it with", shown)
	}
	c := &Camera{cfg: cfg, src: src, log: slog.New(redacting{cfg.Log.Handler()}).With("source", shown)}
	c.wake, c.ended = make(chan struct{}, 1), make(chan struct{})
	c.stats.public.State = Connecting
	return c, nil
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// Live reports whether the source is a camera: endless, at its own pace, and
// reached again when it is lost.
func (c *Camera) Live() bool { return c.src.kind.live() }

// Drops reports whether frames that nobody takes in time are dropped.
func (c *Camera) Drops() bool { return c.order().drops() }

func (c *Camera) order() order {
	return order{Kind: c.src.kind, At: c.src.at, Loop: c.cfg.Loop, Realtime: c.cfg.Realtime,
		Read: (2 * c.cfg.Silence).Milliseconds()}
}

// Frame is a picture in a slot of shared memory. Its pixels may be read until
// Release; no worker writes to the slot before.
type Frame struct {
	vision.Frame
	Pool *shm.Pool // holds the pixels; to keep it beyond Release, Retain it
	Slot int

	session  *session
	released atomic.Bool
}

// Release gives the slot back to the worker. It must be called exactly once.
func (f *Frame) Release() {
	if f.released.Swap(true) {
		panic("BUG: capture.Frame released twice")
	}
	f.session.free(f.Pool.ID, f.Slot)
	f.Pool.Release()
}

// Next gives the next frame: the newest one of a camera, each in order of a
// recording or folder. The caller owns it and must Release it. After the last
// one the error is io.EOF, or what made Run end. One goroutine at a time may
// wait in it.
func (c *Camera) Next(ctx context.Context) (*Frame, error) {
	for {
		c.mu.Lock()
		if len(c.queue) > 0 {
			f := c.queue[0]
			c.queue[0] = nil
			c.queue = c.queue[1:]
			c.stats.public.Delivered++
			c.mu.Unlock()
			return f, nil
		}
		end := c.end
		c.mu.Unlock()
		if end != nil {
			return nil, end
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.wake:
		case <-c.ended:
		}
	}
}

// push queues a frame; where frames drop, it takes the place of the one that
// nobody has taken yet.
func (c *Camera) push(f *Frame) {
	var old *Frame
	c.mu.Lock()
	if c.Drops() && len(c.queue) > 0 {
		old = c.queue[0]
		c.queue = c.queue[:0]
		c.stats.public.Dropped.Overwritten++
	}
	c.queue = append(c.queue, f)
	c.mu.Unlock()
	if old != nil {
		old.Release()
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Run reads the source until it ends or ctx does, and then returns nil. A
// live camera that fails is tried again for ever; what keeps a file or folder
// from being read is the error. No process is left when Run returns; frames
// that a recording gave before its end stay for Next, which must be called
// until it fails to free the last memory.
func (c *Camera) Run(ctx context.Context) error {
	err := c.supervise(ctx)
	c.mu.Lock()
	c.end = io.EOF
	state := Ended
	if err != nil {
		c.end, state = err, Failed
	}
	var left []*Frame
	if ctx.Err() != nil {
		c.end = fmt.Errorf("source %s: stopped: %w", Redact(c.cfg.Source), context.Cause(ctx))
		left, c.queue = c.queue, nil
	}
	c.stats.public.State = state
	c.mu.Unlock()
	for _, f := range left {
		f.Release()
	}
	close(c.ended)
	return err
}

// Longest run of tries after which the wait grows no more (1.6 s), and how
// long a worker must have worked for the count to begin anew.
const (
	maxTry  = 6
	goodRun = 5 * time.Second

	maxDeaths = 3 // of workers at one picture of a recording or folder
)

// supervise starts worker after worker. One that dies over a recording or
// folder is followed by one that goes on behind the last picture; only when
// that dies too, time after time at the same picture, is it given up.
func (c *Camera) supervise(ctx context.Context) error {
	for try := 1; ; try++ {
		if shm.Backoff(ctx, min(try, maxTry)) != nil {
			return nil
		}
		began := time.Now()
		s := &session{camera: c, base: c.counted()}
		err := s.run(ctx)
		got := c.counted().Captured > s.base.Captured
		switch {
		case ctx.Err() != nil || errors.Is(err, io.EOF):
			return nil
		case !c.Live() && (!s.died() || !got && try >= maxDeaths):
			return fmt.Errorf("source %s: %w", Redact(c.cfg.Source), err)
		}
		c.failed(err)
		if c.Live() && time.Since(began) > goodRun && s.frames > 0 || !c.Live() && got {
			try = 0
		}
	}
}
