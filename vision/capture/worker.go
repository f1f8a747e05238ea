package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/sightline-edge/sightline/internal/lean"
	"github.com/sightline-edge/sightline/vision/shm"
)

// Opener opens the source that a worker was told to read. OpenPlain and
// OpenAll are the two.
type Opener func(ctx context.Context, o order) (reader, opened, error)

// reader is an open source inside a worker.
type reader interface {
	// Read fetches the next picture into memory that room gives, at least as
	// many bytes as asked for and never less than a row-by-row BGR picture.
	// io.EOF is the regular end; errUnreadable marks a picture to be left out.
	// A patient source gives errNothing at least every beatEvery while it is well
	// and nothing comes.
	Read(room roomFunc) (shot, error)
	Close()
}

// firer is a reader whose camera takes a picture when it is told to. Fire is
// called beside Read, and may be beside or after Close.
type firer interface{ Fire() error }

// exposer is a reader whose camera can be told another exposure while it streams. An
// exposure asked for before a Fire counts for its picture. Expose is called like Fire;
// woe, perhaps later, hears why the camera doesn't take it.
type exposer interface {
	Expose(d time.Duration, woe func(error))
}

// finisher is a reader that must hear when a picture has its verdict. Done tells
// whether it is gone now. It is called beside Read, and may be beside or after Close.
type finisher interface {
	Done(name string) (gone bool, err error)
}

// errNothing is what a patient source reads while nothing comes.
var errNothing = errors.New("nothing came")

// roomFunc gives memory for one picture of so many bytes. It may be asked more
// than once for a picture; the last answer counts. For a source that drops it
// gives nil when every slot is in use, and the reader passes the picture over.
type roomFunc func(bytes int) ([]byte, error)

// shot is what Read found.
type shot struct {
	taken
	empty   bool   // there was no room; the picture is gone
	skipped uint64 // pictures before this one that the reader itself passed over

	incomplete, stale uint64 // pictures before this one that nobody may judge
}

// errUnreadable is a picture that can't be decoded while the source goes on.
type errUnreadable struct{ err error }

func (e errUnreadable) Error() string { return e.err.Error() }
func (e errUnreadable) Unwrap() error { return e.err }

// errGone ends a worker whose agent has closed the socket.
var errGone = errors.New("the agent is gone")

// beatEvery bounds how often a worker that drops everything says so.
const beatEvery = 500 * time.Millisecond

// worker is the capture process's side of one source.
type worker struct {
	conn   *shm.Conn
	order  order
	counts counts
	beat   time.Time
	bad    error     // the last unreadable picture
	settle sync.Once // by the first picture the source is open

	mu     sync.Mutex // protects what follows
	change *sync.Cond
	pool   *shm.Pool
	free   []int
	gone   bool
	reader reader // open now, else nil

	skip uint64 // pictures that are still to be passed over
	held int    // the slot that room gave last and no frame has used, -1 if none
	from *shm.Pool
}

// WorkerMain is the life of a capture process: it takes one order from the
// socket fd, reads the source until it ends or the socket closes, and returns
// nil when it has told its agent why. Only what keeps it from telling is an error.
func WorkerMain(ctx context.Context, fd int, open Opener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &worker{conn: shm.NewConn(fd), held: -1}
	w.change = sync.NewCond(&w.mu)
	defer w.conn.Close()
	var first message
	fds, err := w.conn.Recv(&first)
	shm.CloseAll(fds)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return err
	}
	if first.Kind != askStart || first.Order == nil {
		return fmt.Errorf("capture worker: the first message is %q, not an order: started by hand?", first.Kind)
	}
	w.order = *first.Order
	w.skip = w.order.Skip
	listening := make(chan struct{})
	go func() {
		defer close(listening)
		defer cancel()
		w.listen()
	}()
	end := w.work(ctx, open)
	if !errors.Is(end, errGone) && ctx.Err() == nil {
		err = w.tellEnd(end)
	}
	w.conn.Close()
	<-listening
	w.dropPool()
	return err
}

// listen takes pools and slots until the socket closes.
func (w *worker) listen() {
	for {
		var m message
		fds, err := w.conn.Recv(&m)
		if err != nil {
			break
		}
		if m.Kind == askPool && m.Pool != nil && len(fds) == 1 {
			w.newPool(fds[0], *m.Pool)
			continue
		}
		shm.CloseAll(fds)
		switch m.Kind {
		case askFree:
			w.freed(m)
		case askFire, askDone, askLight:
			w.asked(m)
		}
	}
	w.mu.Lock()
	w.gone = true
	w.change.Broadcast()
	w.mu.Unlock()
}

func (w *worker) freed(m message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pool != nil && w.pool.ID == m.ID && m.Slot >= 0 && m.Slot < w.pool.Slots {
		w.free = append(w.free, m.Slot)
		w.change.Broadcast()
	}
}

// asked hands on to the reader what is for it alone. mu isn't held meanwhile: a
// folder that hangs would keep back the room for pictures, and nobody would tell.
func (w *worker) asked(m message) {
	w.mu.Lock()
	open := w.reader
	w.mu.Unlock()
	switch m.Kind {
	case askFire:
		if r, ok := open.(firer); ok {
			w.woe(r.Fire())
		}
	case askDone:
		if r, ok := open.(finisher); ok {
			gone, err := r.Done(m.Name)
			if gone {
				_ = w.conn.Send(message{Kind: tellGone, Name: m.Name}) // an agent that is gone is seen by listen
			}
			w.woe(err)
		}
	case askLight:
		if r, ok := open.(exposer); ok {
			r.Expose(m.Exposure, w.woe)
		}
	}
}

// woe tells what went wrong, if anything did.
func (w *worker) woe(err error) {
	if err != nil {
		_ = w.conn.Send(message{Kind: tellWoe, Text: Redact(err.Error())}) // an agent that is gone is seen by listen
	}
}

func (w *worker) hold(r reader) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reader = r
}

// newPool maps the memory. If that fails, the reader waits until the agent
// loses patience: there is nothing else to decode into.
func (w *worker) newPool(fd int, info shm.Info) {
	p, err := shm.OpenPool(fd, info)
	if err != nil {
		_ = w.conn.Send(message{Kind: tellEnd, Text: err.Error(), Counts: w.counts}) // nobody is left to tell
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pool != nil {
		w.pool.Release()
	}
	w.pool, w.free = p, w.free[:0]
	for i := range info.Slots {
		w.free = append(w.free, i)
	}
	w.change.Broadcast()
}

func (w *worker) dropPool() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pool != nil {
		w.pool.Release()
		w.pool = nil
	}
}

// room is the worker's roomFunc.
func (w *worker) room(bytes int) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held >= 0 && w.from == w.pool && w.pool.SlotSize >= bytes {
		return w.pool.Slot(w.held), nil
	}
	w.held = -1 // it went with its pool, which is too small
	for asked := false; !w.gone; {
		switch {
		case w.pool == nil || w.pool.SlotSize < bytes:
			if !asked {
				asked = true
				if err := w.conn.Send(message{Kind: tellRoom, Bytes: bytes}); err != nil {
					return nil, errGone
				}
			}
		case len(w.free) > 0:
			w.held, w.from = w.free[len(w.free)-1], w.pool
			w.free = w.free[:len(w.free)-1]
			return w.pool.Slot(w.held), nil
		case w.order.drops():
			return nil, nil
		}
		w.change.Wait()
	}
	return nil, errGone
}

// work reads the source to its end, again and again if it loops. It returns
// io.EOF for the regular end.
func (w *worker) work(ctx context.Context, open Opener) error {
	var base, last time.Duration // Media goes on from pass to pass
	for pass := 0; ; pass++ {
		r, desc, err := open(ctx, w.order)
		if err == nil {
			r, err = turn(r, &desc, w.order.Options)
		}
		if err != nil {
			return err
		}
		w.hold(r)
		if pass == 0 {
			err = w.conn.Send(message{Kind: tellOpen, Opened: &desc})
		}
		if err == nil {
			err = w.pass(ctx, r, desc, base, &last)
		}
		w.hold(nil)
		r.Close()
		if errors.Is(err, io.EOF) && w.counts.Captured == w.counts.Unreadable && w.order.Skip == 0 {
			return w.nothing()
		}
		if !w.order.Loop || !errors.Is(err, io.EOF) {
			return err
		}
		length := last - base
		if desc.Rate > 0 {
			length += time.Duration(float64(time.Second) / desc.Rate)
		}
		base += length
		if n := w.order.Skip - w.skip; pass == 0 && w.skip > 0 && n > 0 { // whole passes needn't be read
			base += time.Duration(w.skip/n) * length
			w.skip %= n
		}
		last = base
	}
}

// nothing is the error of a source that ended without one good picture.
func (w *worker) nothing() error {
	switch {
	case w.bad == nil:
		return errors.New("it holds no picture")
	case w.counts.Unreadable == 1:
		return w.bad
	}
	return fmt.Errorf("none of its %d pictures can be read; the last one: %w", w.counts.Unreadable, w.bad)
}

// pass reads an open source once; *last becomes the position of its last picture.
func (w *worker) pass(ctx context.Context, r reader, desc opened, base time.Duration, last *time.Duration) error {
	began := time.Now()
	for ctx.Err() == nil {
		s, err := r.Read(w.room)
		if errors.Is(err, errNothing) {
			if err = w.beats(); err != nil {
				return err
			}
			continue
		}
		bad := errUnreadable{}
		if w.skip > 0 && (err == nil || errors.As(err, &bad)) {
			w.skip--
			if err == nil {
				*last = base + time.Duration(s.Media)
				began = time.Now().Add(-time.Duration(s.Media))
			}
			continue
		}
		if errors.As(err, &bad) {
			w.counts.Captured++
			w.counts.Unreadable++
			w.bad = bad
			err = w.conn.Send(message{Kind: tellSkip, Text: bad.Error(), Counts: w.counts})
			if err != nil {
				return errGone
			}
			continue
		}
		if err != nil {
			return err
		}
		if w.order.Realtime && !w.order.Kind.live() {
			if !sleep(ctx, time.Until(began.Add(time.Duration(s.Media)))) {
				return errGone
			}
			s.Mono = monotonic()
		}
		if !w.order.Kind.live() {
			*last = base + time.Duration(s.Media)
			s.Media = int64(*last)
		}
		if err := w.hand(s); err != nil {
			return err
		}
	}
	return errGone
}

// hand gives the slot with a picture to the agent.
func (w *worker) hand(s shot) error {
	w.counts.Captured += s.skipped + s.incomplete + s.stale + 1
	w.counts.Late += s.skipped
	w.counts.Incomplete += s.incomplete
	w.counts.Stale += s.stale
	if s.empty {
		w.counts.NoRoom++
		return w.beats()
	}
	if w.held < 0 {
		panic("BUG: a reader gave a picture without asking for room")
	}
	w.settle.Do(lean.Keep)
	m := message{Kind: tellFrame, ID: w.from.ID, Slot: w.held, Frame: &s.taken, Counts: w.counts}
	w.held = -1
	if w.conn.Send(m) != nil {
		return errGone
	}
	return nil
}

// beats says that the source is well although no picture is handed over.
func (w *worker) beats() error {
	if time.Since(w.beat) < beatEvery {
		return nil
	}
	w.beat = time.Now()
	if w.conn.Send(message{Kind: tellBeat, Counts: w.counts}) != nil {
		return errGone
	}
	return nil
}

// cutShort is the end of a recording that stops before it should.
type cutShort struct{ what string }

func (e cutShort) Error() string { return e.what }
func (e cutShort) Is(target error) bool {
	return target == io.EOF
}

func (w *worker) tellEnd(end error) error {
	m := message{Kind: tellEnd, Counts: w.counts, Denied: errors.Is(end, errDenied)}
	if c := (cutShort{}); errors.As(end, &c) {
		m.Cut = c.what
	}
	if !errors.Is(end, io.EOF) {
		m.Text = Redact(end.Error())
	}
	if err := w.conn.Send(m); err != nil {
		return fmt.Errorf("capture worker: tell the end: %w", err)
	}
	return nil
}

// sleep waits and reports whether the context is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
