package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/shm"
)

// How long a worker may take for what isn't bounded by the camera's silence.
const (
	openPatience = 10 * time.Second       // from its start to the open source, and to the first frame of a camera: keyframes may be rare
	filePatience = 60 * time.Second       // for one picture of a file, the largest included
	stopGrace    = 300 * time.Millisecond // to end after the socket is closed
	watchEvery   = 100 * time.Millisecond // at the shortest
)

// session is the life of one worker, from its start to its end.
type session struct {
	camera  *Camera
	base    counts // of the workers before
	proc    *shm.Process
	opened  bool
	frames  int
	dead    bool      // the worker is gone, and didn't say why
	seen    time.Time // the last sign of life
	weighed time.Time // when its memory was last looked at
	end     error     // what the worker said at its end, io.EOF for the regular one

	mu   sync.Mutex // protects what follows, which Release uses
	pool *shm.Pool  // the current one; nil after the end
	out  int        // slots of it that the agent has
}

// run starts a worker and reads from it to its end. The error says why it
// ended; io.EOF is the regular end.
func (s *session) run(ctx context.Context) error {
	c := s.camera
	o, err := c.order()
	if err != nil {
		return err
	}
	cmd := shm.Command{Path: c.cfg.SelfExecutable, Args: c.cfg.SelfArgs, Log: c.log}
	if c.src.kind.native() {
		cmd.Path, cmd.Args = c.cfg.CaptureBinary, nil
	}
	proc, err := cmd.Start()
	if err != nil {
		return err
	}
	s.proc, s.seen = proc, time.Now()
	c.started(s)
	defer func() {
		c.stopped(proc.CPU())
	}()
	defer s.forget()
	if !c.Live() {
		o.Skip = s.base.Captured
	}
	if err := proc.Conn.Send(message{Kind: askStart, Order: &o}); err != nil {
		proc.Stop(0)
		return s.why(err)
	}
	messages := make(chan message)
	received := make(chan error, 1)
	quit := make(chan struct{})
	go func() {
		received <- receive(proc.Conn, messages, quit)
	}()
	err = s.serve(ctx, messages, received)
	grace := stopGrace
	if err != nil && !errors.Is(err, io.EOF) && ctx.Err() == nil {
		grace = 0 // it hangs, is dead or talks nonsense
	}
	close(quit)
	proc.Stop(grace)
	return s.why(err)
}

// receive hands over what the worker says, until the socket closes.
func receive(conn *shm.Conn, to chan<- message, quit <-chan struct{}) error {
	for {
		var m message
		fds, err := conn.Recv(&m)
		shm.CloseAll(fds) // a worker has none to give
		if err != nil {
			return err
		}
		select {
		case to <- m:
		case <-quit:
			return nil
		}
	}
}

var (
	errNoOpen = errors.New("the source couldn't be opened in time")
	errSilent = errors.New("the camera stopped sending")
	errStuck  = errors.New("reading hangs")
	errGrown  = errors.New("its process has outgrown its memory")
	errDenied = errors.New("denied") // marks what a worker says of a wrong password
)

// serve handles messages until the worker is done, gone or given up.
func (s *session) serve(ctx context.Context, messages <-chan message, received <-chan error) error {
	// A look wakes threads that sleep: with slow cameras that was most of what the
	// agent itself used. What is looked for takes longer than the silence.
	watch := time.NewTicker(max(watchEvery, s.camera.cfg.Silence/3))
	defer watch.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-received:
			s.dead = true
			return err
		case m := <-messages:
			s.seen = time.Now()
			if err := s.handle(m); err != nil || s.end != nil {
				return errors.Join(err, s.end)
			}
		case <-watch.C:
			if err := s.overdue(); err != nil {
				return err
			}
			if err := s.outgrown(); err != nil {
				return err
			}
		}
	}
}

// overdue gives up a worker that has shown no life for too long. One that has
// no slot left to write to is waiting for us.
func (s *session) overdue() error {
	quiet := time.Since(s.seen)
	s.mu.Lock()
	waiting := s.pool != nil && s.out >= s.pool.Slots
	s.mu.Unlock()
	c := s.camera
	switch {
	case !s.opened && quiet > openPatience:
		return errNoOpen
	case !s.opened:
		return nil
	case waiting && !c.Drops():
		s.seen = time.Now()
	case c.Live() && s.frames == 0 && quiet > openPatience,
		c.Live() && s.frames > 0 && quiet > 2*c.cfg.Silence+c.cfg.Silence/4:
		return errSilent // the worker's own limit, twice the silence, comes first
	case !c.Live() && quiet > filePatience:
		return errStuck
	}
	return nil
}

// memoryEvery is how often a worker's memory is looked at.
const memoryEvery = time.Second

// outgrown gives up a worker that leaks, before the device runs out of memory.
// The next one goes on after a moment.
func (s *session) outgrown() error {
	if time.Since(s.weighed) < memoryEvery {
		return nil
	}
	s.weighed = time.Now()
	used := shm.PrivateMemory(s.proc.Pid())
	s.camera.weigh(used)
	if limit := int64(s.camera.cfg.MemoryMB) * 1e6; used > limit {
		return fmt.Errorf("%w: %d MB, %d are allowed", errGrown, used/1e6, limit/1e6)
	}
	return nil
}

// why makes an error of what the worker said, or of how its process ended.
func (s *session) why(err error) error {
	switch {
	case s.end != nil:
		return s.end
	case errors.Is(err, errNoOpen), errors.Is(err, errSilent), errors.Is(err, errStuck), errors.Is(err, errGrown):
		return err
	}
	exit := "its process ended: " + s.proc.Exit()
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("capture worker: %w (%s)", err, Redact(exit))
	}
	return errors.New("capture worker: " + Redact(exit))
}

// refusal is what a camera said about a wrong user or password.
type refusal struct{ text string }

func (r refusal) Error() string        { return r.text }
func (r refusal) Is(target error) bool { return target == errDenied }

// died reports whether the worker ended without a word.
func (s *session) died() bool { return s.opened && s.dead }

// handle takes one message. An error means that the worker can't go on.
func (s *session) handle(m message) error {
	c := s.camera
	c.count(s.base.plus(m.Counts), m.Counts != counts{})
	switch m.Kind {
	case tellOpen:
		s.opened = true
		if m.Opened != nil {
			return c.relight(s, *m.Opened)
		}
	case tellRoom:
		return s.grow(m.Bytes)
	case tellFrame:
		return s.frame(m)
	case tellBeat:
		c.alive()
	case tellGone:
		c.gone(m.Name)
	case tellWoe:
		c.log.Warn("trouble with the source", "reason", m.Text)
		c.trouble(m.Text)
	case tellSkip:
		c.log.Warn("picture left out", "reason", short(m.Text))
		c.trouble(short(m.Text))
	case tellEnd:
		s.end = io.EOF
		switch {
		case m.Denied:
			s.end = refusal{short(m.Text)}
		case m.Text != "":
			s.end = errors.New(short(m.Text))
		case c.Live():
			s.end = errors.New("the camera ended its stream") // and is reached again: no camera is ever over
		}
		c.cut(m.Cut)
	default:
		return fmt.Errorf("message of unknown kind %q", m.Kind)
	}
	return nil
}

// longest is how much of what a worker says is shown; cameras put whole answers
// into their errors.
const longest = 300 // bytes

func short(text string) string {
	if len(text) <= longest {
		return text
	}
	return strings.ToValidUTF8(text[:longest], "") + "…"
}

// grow makes new, larger memory and sends it. The old one goes when its last
// frame is released.
func (s *session) grow(bytes int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pool != nil {
		bytes = max(bytes, min(s.pool.SlotSize+s.pool.SlotSize/4, shm.MaxSlotSize)) // so that a folder of growing pictures grows it seldom
	}
	p, err := shm.NewPool(rand.Uint64(), s.camera.cfg.Slots, bytes)
	if err != nil {
		return err
	}
	if err := s.proc.Conn.Send(message{Kind: askPool, Pool: &p.Info}, p.FD()); err != nil {
		p.Release()
		return err
	}
	if s.pool != nil {
		s.pool.Release()
	}
	s.pool, s.out = p, 0
	return nil
}

// frame checks what the worker says about a slot and queues it.
func (s *session) frame(m message) error {
	t := m.Frame
	s.mu.Lock()
	p := s.pool
	if p == nil || t == nil || m.ID != p.ID || m.Slot < 0 || m.Slot >= p.Slots || s.out >= p.Slots {
		s.mu.Unlock()
		return fmt.Errorf("frame in slot %d that isn't the worker's", m.Slot)
	}
	format := t.format()
	f := vision.Frame{
		Pix: p.Slot(m.Slot), Width: t.Width, Height: t.Height, Stride: format.Channels() * t.Width, Format: format,
		Seq: s.base.Captured + m.Counts.Captured, Captured: s.camera.inOrder(when(t.Mono)), Timing: max(t.Timing, vision.Read),
		Media: time.Duration(t.Media), Name: t.Name,
	}
	if t.Width > p.SlotSize || t.Height > p.SlotSize || !f.Valid() {
		s.mu.Unlock()
		return fmt.Errorf("frame of %dx%d doesn't fit its slot of %d bytes", t.Width, t.Height, p.SlotSize)
	}
	f.Pix = f.Pix[:f.Stride*f.Height]
	p.Retain()
	s.out++
	s.mu.Unlock()
	s.frames++
	slot := &sharedSlot{session: s, pool: p, slot: m.Slot, stamp: time.Duration(t.Stamp), exposure: t.Exposure, came: time.Now()}
	if c := s.camera; c.stale(&f) || c.again(t.Name, t.Key) {
		slot.holds.Store(1)
		slot.drop()
		return nil
	}
	s.camera.took(&f)
	s.camera.push(f, slot)
	return nil
}

// free gives a slot back; one of older memory, or of a worker that has ended,
// is nobody's any more.
func (s *session) free(id uint64, slot int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pool == nil || s.pool.ID != id {
		return
	}
	s.out--
	// A worker that is gone or hangs is seen by Run, which ends the session.
	_ = s.proc.Conn.Send(message{Kind: askFree, ID: id, Slot: slot})
}

// forget drops the memory after the worker's end.
func (s *session) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pool != nil {
		s.pool.Release()
		s.pool = nil
	}
}
