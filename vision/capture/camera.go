// Package capture reads cameras, recordings and pictures. Each source is read
// by a process of its own, which decodes into shared memory (package shm): a
// driver that hangs or a decoder that crashes costs that process, which is
// killed and started again. Camera is the agent's side, WorkerMain the
// process's. From a live camera the newest frame wins; a recording and a
// folder give every frame, in order.
package capture

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/vision/shm"
)

// Defaults of Config.
const (
	DefaultSlots    = 6
	DefaultSilence  = 1500 * time.Millisecond
	DefaultMemoryMB = 1024
)

// Config says what a Camera reads, and with which programs.
type Config struct {
	Source   string // path of a file or folder; http(s):// (MJPEG or snapshots), rtsp(s)://; /dev/video…; aravis:NAME; exec:PROGRAM; gst:PIPELINE
	Loop     bool   // begin a recording or folder again at its end; Media goes on counting
	Realtime bool   // play a recording by its own time stamps and drop frames as a camera would
	Options

	CaptureBinary  string   // path of sightline-capture; "" if it isn't installed
	SelfExecutable string   // the program that reads what needs no library, usually the agent itself
	SelfArgs       []string // its arguments that lead to WorkerMain

	Slots    int           // frames in shared memory; 0 means DefaultSlots, at least 2
	Silence  time.Duration // a camera that gives nothing for so long is silent, and is reached anew after twice that; 0 means DefaultSilence, or two and a half periods of a slower Rate
	MemoryMB int           // private memory at which a worker is ended and started again; 0 means DefaultMemoryMB
	Log      *slog.Logger  // nil discards
}

// Camera is one source with the process that reads it. Its frames go to its
// feeds: make them with Feed before Run. The methods may be called from any
// goroutine, Run once.
type Camera struct {
	cfg Config
	src source
	log *slog.Logger

	tried string        // which credentials were read last; Run's own
	ended chan struct{} // closed when Run is over

	light sync.Mutex // keeps exposures in the order in which they were set; taken before mu

	mu       sync.Mutex // protects what follows
	feeds    []*Feed
	stop     context.CancelFunc // ends Run; nil before it
	end      error              // why feeds give nothing more; io.EOF at the regular end
	session  *session           // that runs, else nil
	reading  bool               // its source is open
	stats    stats
	exposure time.Duration      // that was set since; 0: as configured
	taken    map[string]*picked // pictures of a watched folder that aren't done, by name
}

// New checks the source and the programs that it needs. It starts nothing.
func New(cfg Config) (*Camera, error) {
	src, err := parseSource(cfg.Source)
	if err != nil {
		return nil, err
	}
	if src.kind == folder && cfg.Watch {
		src.kind = watched
	}
	cfg.Slots, cfg.MemoryMB = cmp.Or(cfg.Slots, DefaultSlots), cmp.Or(cfg.MemoryMB, DefaultMemoryMB)
	if cfg.Silence == 0 {
		cfg.Silence = DefaultSilence
		if cfg.Rate > 0 {
			cfg.Silence = max(cfg.Silence, time.Duration(2.5/cfg.Rate*float64(time.Second)))
		}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	shown := Redact(cfg.Source)
	if err := cfg.check(src); err != nil {
		return nil, fmt.Errorf("source %s: %w", shown, err)
	}
	c := &Camera{cfg: cfg, src: src, log: slog.New(redacting{cfg.Log.Handler()}).With("source", shown),
		ended: make(chan struct{}), taken: map[string]*picked{}}
	c.stats.public.State = Connecting
	return c, nil
}

// Live reports whether the source is a camera: endless, at its own pace, and
// reached again when it is lost.
func (c *Camera) Live() bool { return c.src.kind.live() }

// Drops reports whether frames that nobody takes in time are dropped.
func (c *Camera) Drops() bool { return c.bare().drops() }

// bare is the order without what a worker alone must know.
func (c *Camera) bare() order {
	return order{Kind: c.src.kind, At: c.src.at, Loop: c.cfg.Loop, Realtime: c.cfg.Realtime,
		Read: (2 * c.cfg.Silence).Milliseconds(), Options: c.cfg.Options}
}

// order is what a worker is told.
func (c *Camera) order() (order, error) {
	o := c.bare()
	var err error
	if c.cfg.Credentials != "" {
		c.tried = fileStamp(c.cfg.Credentials)
		o.User, o.Password, err = readCredentials(c.cfg.Credentials)
	}
	return o, err
}

// Run reads the source until it ends, all feeds are closed, or ctx ends, and
// then returns nil. A live camera that fails is tried again for ever; what keeps
// a file or folder from being read is the error. No process is left when Run
// returns; frames that a recording gave before its end stay for Next, which must
// be called until it fails to free the last memory.
func (c *Camera) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	c.mu.Lock()
	c.stop = stop
	if c.unusedLocked() {
		stop()
	}
	c.mu.Unlock()
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
		for _, f := range c.feeds {
			left = append(left, f.dropLocked()...)
		}
	}
	c.stats.public.State = state
	c.mu.Unlock()
	for _, f := range left {
		f.Release()
	}
	close(c.ended)
	return err
}

// Patient reports whether nothing may come for long although all is well: from
// a watched folder, or a camera that waits for its trigger.
func (c *Camera) Patient() bool { return c.bare().patient() }

// Triggers reports whether Fire takes a picture.
func (c *Camera) Triggers() bool { return c.cfg.Trigger == "software" }

// Fire makes a camera with a software trigger take a picture. It doesn't wait
// for it.
func (c *Camera) Fire() error {
	if c.cfg.Trigger != "software" {
		return fmt.Errorf("fire %s: its trigger isn't software", Redact(c.cfg.Source))
	}
	c.mu.Lock()
	reading := c.reading
	c.mu.Unlock()
	if !reading {
		return fmt.Errorf("fire %s: the camera can't be reached now", Redact(c.cfg.Source))
	}
	return c.ask(message{Kind: askFire})
}

// ask sends the running worker a message.
func (c *Camera) ask(m message) error {
	c.mu.Lock()
	s := c.session
	c.mu.Unlock()
	if s == nil || s.proc == nil {
		return fmt.Errorf("source %s: it isn't open now", Redact(c.cfg.Source))
	}
	return s.proc.Conn.Send(m)
}

// Longest run of tries after which the wait grows no more (1.6 s), and how
// long a worker must have worked for the count to begin anew.
const (
	maxTry  = 6
	goodRun = 5 * time.Second

	maxDeaths = 3 // of workers at one picture of a recording or folder

	deniedWait = 30 * time.Second // before a wrong password is tried again; doubles up to deniedMost
	deniedMost = 5 * time.Minute
)

// supervise starts worker after worker. One that dies over a recording or
// folder is followed by one that goes on behind the last picture; only when
// that dies too, time after time at the same picture, is it given up.
func (c *Camera) supervise(ctx context.Context) error {
	refused := 0 // times in a row that the password was wrong
	for try := 1; ; try++ {
		if c.pause(ctx, try, refused) != nil {
			return nil
		}
		began := time.Now()
		s := &session{camera: c, base: c.counted()}
		err := s.run(ctx)
		if refused++; !errors.Is(err, errDenied) {
			refused = 0
		}
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

// pause waits before a try. After a wrong password it waits long, so that the
// camera doesn't lock the account, unless the file with the password changes.
func (c *Camera) pause(ctx context.Context, try, refused int) error {
	if refused == 0 {
		return shm.Backoff(ctx, min(try, maxTry))
	}
	wait := min(deniedWait<<min(refused-1, 8), deniedMost)
	wait += rand.N(wait / 4)
	until := time.NewTimer(wait)
	defer until.Stop()
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-until.C:
			return nil
		case <-look.C:
			if fileStamp(c.cfg.Credentials) != c.tried {
				return nil
			}
		}
	}
}
